import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { AppError } from '../../core/errors.ts';

/**
 * The agent and everything it imports as one JavaScript module. `projectDir` is the folder of package.json.
 * Errors: `failed` when it does not compile.
 */
export async function bundleAgent(projectDir: string): Promise<Uint8Array> {
  const entry = join(projectDir, 'agent/main.ts');
  await access(entry).catch((cause: unknown) => {
    throw new AppError('not_found', `the agent's source ${entry} is missing`, { hint: 'run from a complete checkout', cause });
  });
  const result = await build({
    entryPoints: [entry],
    absWorkingDir: projectDir,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    write: false,
    legalComments: 'none',
    logLevel: 'silent',
    // Packages written for CommonJS call require; an ES module has none of its own.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  }).catch((cause: unknown) => {
    throw new AppError('failed', `the agent does not compile: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  });
  const [file] = result.outputFiles;
  if (!file) throw new AppError('failed', 'the agent compiled to nothing');
  return file.contents;
}
