import { AppError } from '../../../core/errors.ts';
import { EngineImport, importEngine } from '../../engine/publish.ts';
import { viewImage } from '../../images/view.ts';
import { startOperation } from '../../operations.ts';
import { type Route, route } from '../route.ts';

/** Boot environments. They are listed with the images, whose kind says `engine`. */
export const ENGINE_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/engines',
    listener: 'api',
    action: 'image.write',
    summary: 'Publish boot files that "engine build" made on this machine (unix socket only)',
    input: EngineImport,
    handle: async ({ site, identity }, input) => {
      if (identity.kind !== 'local-admin') {
        throw new AppError('not_permitted', "an engine is taken from the server's own machine, not through --url", {
          hint: 'run "waystation engine build" there, with --data',
        });
      }
      return startOperation(site, 'engine', async (report) =>
        viewImage(await importEngine(site, { ...input, actor: identity.kind }, report)),
      );
    },
  }),
];
