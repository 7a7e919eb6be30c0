import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describePackages, fetchPackages } from '../../../server/engine/debian/packages.ts';
import { makeTree, unpackPackages } from '../../../server/engine/debian/unpack-process.ts';
import { depmod, findKernel } from '../../../server/engine/kernel.ts';
import { withScratch } from '../../../server/engine/parts.ts';
import { isKernelPackage } from '../../../server/engine/recipe.ts';
import { makeRootInitrd } from '../debian-image/initrd.ts';
import { openDiskTools } from './disk.ts';
import { keepOnShelf } from './shelf.ts';

const INIT = join(import.meta.dirname, 'files/init');
const MODULES = ['virtio_net', 'af_packet'];
const RECIPE = [import.meta.filename, INIT, join(import.meta.dirname, '../debian-image/initrd.ts')];

export type GuestKernel = { readonly vmlinuz: string; readonly initrd: string };

/** Debian's cloud kernel and a small initramfs that mounts a guest's disks; kept in the cache, to be read only. */
export async function buildGuestKernel(cacheDir: string): Promise<GuestKernel> {
  const common = { cacheDir, arch: 'amd64' } as const;
  const kernels = await fetchPackages({ ...common, packages: ['linux-image-cloud-amd64'], only: isKernelPackage });
  const busybox = await fetchPackages({ ...common, packages: ['busybox-static'], only: (name) => name === 'busybox-static' });
  const toolbox = await openDiskTools(cacheDir);
  const packages = [...kernels, ...busybox];
  const key = createHash('sha256').update(describePackages(packages)).update(toolbox.packages);
  for (const path of RECIPE) key.update(await readFile(path));
  const kept = await keepOnShelf(cacheDir, 'guest-kernels', key.digest('hex').slice(0, 24), (out) =>
    withScratch(cacheDir, async (tree) => {
      await makeTree(tree);
      await unpackPackages(packages, tree);
      const kernel = await findKernel(tree);
      await depmod(toolbox, tree, kernel.release);
      await mkdir(out, { recursive: true });
      await copyFile(kernel.vmlinuz, join(out, 'vmlinuz'));
      await writeFile(join(out, 'initrd'), await makeRootInitrd(tree, kernel.release, INIT, MODULES));
    }),
  );
  return { vmlinuz: join(kept, 'vmlinuz'), initrd: join(kept, 'initrd') };
}
