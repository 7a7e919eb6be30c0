import { CATALOGUE_CASES } from '../helpers/hostile/catalogue-cases.ts';
import { CONTENT_CASES, TUNNEL_CASES } from '../helpers/hostile/content-cases.ts';
import { testHostile } from '../helpers/hostile/world.ts';

await testHostile(CATALOGUE_CASES.length + CONTENT_CASES.length + 1, TUNNEL_CASES);
