export { cacheDirectory } from '../../server/engine/cache-directory.ts';
