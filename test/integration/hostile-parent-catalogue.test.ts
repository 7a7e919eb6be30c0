import { CATALOGUE_CASES } from '../helpers/hostile/catalogue-cases.ts';
import { testHostile } from '../helpers/hostile/world.ts';

await testHostile(1, CATALOGUE_CASES);
