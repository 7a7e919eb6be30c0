import { execFile } from 'node:child_process';

/** What a program prints about itself (`--version`), or the code of the failure to start it: `ENOENT` when it is not on PATH. */
export function askVersion(program: string, env: NodeJS.ProcessEnv): Promise<{ text: string } | { failure: string }> {
  return new Promise((resolve) => {
    execFile(program, ['--version'], { env: { ...env, LC_ALL: 'C' }, timeout: 10_000 }, (error, stdout, stderr) => {
      if (error === null) resolve({ text: stdout || stderr });
      else resolve({ failure: String(error.code ?? error.message) });
    });
  });
}
