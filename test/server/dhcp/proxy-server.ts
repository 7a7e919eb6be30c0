/** Run by the launcher in a namespace: the boot services of a site, until standard input ends. */
import { startBootServices } from '../../../server/boot/start.ts';
import { openBootSite } from '../../helpers/boot-site.ts';

const { site, close } = await openBootSite({ pxe: 'proxy' });
const services = await startBootServices(site);
process.stdout.write('ready\n');
for await (const line of process.stdin.setEncoding('utf8')) {
  // Every line asks what was written down so far.
  if (line.trim() === 'targets') process.stdout.write(`${JSON.stringify(await site.db('target_macs').select('mac'))}\n`);
}
await services.close();
await close();
