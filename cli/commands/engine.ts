import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { Site } from '../../server/site.ts';
import type { Frame } from '../frame.ts';
import { runLongWork } from '../long-work.ts';
import { details, formatBytes, table } from '../output.ts';
import { work } from '../work.ts';

type EngineView = {
  readonly [key: string]: Json;
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly arch: string;
  readonly state: string;
  readonly manifest: string;
  readonly sizeBytes: number;
  readonly createdAt: string;
};

type BuildOptions = { arch: string; cache?: string; out?: string };

/** `waystation engine …`: the boot environment that machines run while they are worked on. */
export function register(program: Command, frame: Frame): void {
  const engine = program.command('engine').description('the boot environment: build it from Debian packages, list what is here');
  engine
    .command('build')
    .description('kernel, drivers, Node and the agent from Debian packages; exit 69: no packages, 78: not Debian or a program missing')
    .option('--arch <arch>', 'architecture of the machines', 'amd64')
    .option('--cache <dir>', 'where packages are kept between builds (default WAYSTATION_CACHE or ~/.cache/waystation)')
    .option('--out <dir>', 'write the boot files there and publish nothing')
    .action((options: BuildOptions) => build(frame, options));
  engine
    .command('list')
    .description('all engines, newest first')
    .action(() => list(frame));
}

async function build(frame: Frame, options: BuildOptions): Promise<void> {
  if (options.arch !== 'amd64') {
    throw new AppError('usage', `engines are built for amd64, not for "${options.arch.slice(0, 20)}"`, { hint: 'leave --arch out' });
  }
  if (options.out !== undefined) {
    const built = await buildInto(frame, resolve(options.out), options);
    const { arch, kernelRelease, sizeBytes, files } = built;
    return frame.print({ arch, kernelRelease, sizeBytes, files: [...files] }, () => `${options.out}: ${formatBytes(sizeBytes)}`);
  }
  if (frame.url !== undefined) {
    throw new AppError('usage', "an engine is built on the server's own machine, not through --url", { hint: 'run it there, with --data' });
  }
  // A server that does not answer is told before minutes of work.
  const reached = await frame.reach();
  if (reached.kind === 'site') await reached.site.close();
  await publish(frame, options);
}

/** The server may run as another user: what it reads lies where both can reach it. */
async function publish(frame: Frame, options: BuildOptions): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'waystation-engine-'));
  try {
    await chmod(folder, 0o755);
    const { arch, meta, sizeBytes } = await buildInto(frame, folder, options);
    const image = await runLongWork<EngineView>(frame, 'engine', { kind: 'engine', path: folder, arch, meta: { ...meta } });
    frame.print(image, () => describe(image, sizeBytes));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function buildInto(frame: Frame, outDir: string, options: BuildOptions) {
  const [{ buildEngine }, { cacheDirectory }] = await Promise.all([
    import('../../server/engine/build.ts'),
    import('../../server/engine/cache-directory.ts'),
  ]);
  return buildEngine({
    arch: 'amd64',
    outDir,
    cacheDir: resolve(options.cache ?? cacheDirectory(frame.env)),
    projectDir: fileURLToPath(new URL('../../', import.meta.url)),
    onStage: (stage) => frame.say(`engine: ${stage}`),
    signal: frame.signal,
  });
}

async function list(frame: Frame): Promise<void> {
  const images = await work(frame, {
    client: async (client) => (await client.get<{ items: EngineView[] }>('/api/v1/images')).items,
    site: listOffline,
  });
  const items = images.filter(({ kind }) => kind === 'engine');
  frame.print({ items, next: null }, () => listing(items));
}

async function listOffline(site: Site): Promise<EngineView[]> {
  const [{ listImages }, { viewImage }] = await Promise.all([import('../../server/db/images.ts'), import('../../server/images/view.ts')]);
  return (await listImages(site.db)).map(viewImage) as EngineView[];
}

function listing(items: readonly EngineView[]): string {
  if (items.length === 0) return 'no engines; make one with: waystation engine build';
  const rows = items.map(({ name, version, arch, state, sizeBytes, createdAt }) => [
    `${name}@${version}`,
    arch,
    state,
    formatBytes(sizeBytes),
    createdAt,
  ]);
  return table(['ENGINE', 'ARCH', 'STATE', 'SIZE', 'CREATED'], rows);
}

function describe(image: EngineView, sizeBytes: number): string {
  return details([
    ['engine', `${image.name}@${image.version}`],
    ['arch', image.arch],
    ['boot files', formatBytes(sizeBytes)],
    ['manifest', image.manifest],
  ]);
}
