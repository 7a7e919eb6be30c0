import { z } from 'zod';
import { activateImage, pinImage, rollbackImage, unpinImage } from '../../holdings/choices.ts';
import { parseRing, readTime, timeToCome } from '../../images/import.ts';
import { releaseImage } from '../../images/release.ts';
import { viewImage } from '../../images/view.ts';
import { actorOf } from '../actor.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const reference = ({ params }: RouteContext) => params['reference'] ?? '';
/** ISO 8601; without a zone on the clock of this site. */
const time = z.string().max(40).optional();
const ReleaseInput = z.strictObject({ ring: z.number().int().nullable(), at: time });

/** Which version of a name this site uses; and, for our own images, which sites may see one. */
export const VERSION_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/pin',
    listener: 'api',
    action: 'image.write',
    summary: 'Make one version the default of its name until it is unpinned',
    handle: async (context) => viewImage(await pinImage(context.site, reference(context), actorOf(context.identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/unpin',
    listener: 'api',
    action: 'image.write',
    summary: 'Take the pin or rollback of a name back; answers with the version that is the default now',
    handle: async (context) => {
      const image = await unpinImage(context.site, reference(context), actorOf(context.identity));
      return { image: image === undefined ? null : viewImage(image) };
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/rollback',
    listener: 'api',
    action: 'image.write',
    summary: 'Make the version before the present one the default, until the next activation',
    handle: async (context) => viewImage(await rollbackImage(context.site, reference(context), actorOf(context.identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/activate',
    listener: 'api',
    action: 'image.write',
    summary: 'Make a version the default, now or at a time',
    input: z.strictObject({ at: time }),
    handle: async (context, { at }) => {
      const when = at === undefined ? {} : { at: timeToCome(await readTime(context.site, at), context.site.now()) };
      return viewImage(await activateImage(context.site, reference(context), { ...when, actor: actorOf(context.identity) }));
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/release',
    listener: 'api',
    action: 'image.write',
    summary: 'Release a version of our own to a ring and all lower ones (null: to all sites)',
    input: ReleaseInput,
    handle: async (context, { ring, at }) => {
      const when = at === undefined ? {} : { at: await readTime(context.site, at) };
      const wish = { ring: ring === null ? null : parseRing(ring), ...when, actor: actorOf(context.identity) };
      return viewImage(await releaseImage(context.site, reference(context), wish));
    },
  }),
];
