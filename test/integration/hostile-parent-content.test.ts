import { CATALOGUE_CASES } from '../helpers/hostile/catalogue-cases.ts';
import { CONTENT_CASES } from '../helpers/hostile/content-cases.ts';
import { testHostile } from '../helpers/hostile/world.ts';

await testHostile(CATALOGUE_CASES.length + 1, CONTENT_CASES);
