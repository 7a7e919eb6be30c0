import type { Site } from '../server/site.ts';
import type { Client } from './client.ts';
import type { Frame } from './frame.ts';

/** Works through the running server, or on the directory itself when none runs. */
export async function work<Result>(
  frame: Frame,
  how: { readonly client: (client: Client) => Promise<Result>; readonly site: (site: Site) => Promise<Result> },
): Promise<Result> {
  const reached = await frame.reach();
  if (reached.kind === 'client') return how.client(reached.client);
  try {
    return await how.site(reached.site);
  } finally {
    await reached.site.close();
  }
}
