import { z } from 'zod';
import { approveOffer, refuseOffer, showOffers } from '../../control/offers/decide.ts';
import { offerImage } from '../../control/offers/make.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

/** Images of branches on their way up: offered there, decided here. */
export const OFFER_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/images/:reference/offer',
    listener: 'api',
    action: 'image.write',
    summary: 'Offer an image that was made here to the servers above',
    handle: async ({ site, params, identity }) => offerImage(site, params['reference'] ?? '', actorOf(identity)),
  }),
  route({
    method: 'GET',
    path: '/api/v1/offers',
    listener: 'api',
    action: 'image.read',
    summary: 'Images that this server offers, and that servers below offer to it',
    handle: async ({ site }) => ({ items: await showOffers(site), next: null }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/offers/:reference/approve',
    listener: 'api',
    action: 'image.write',
    summary: 'Fetch an offered image and give it to all children',
    handle: async ({ site, params, identity }) => approveOffer(site, params['reference'] ?? '', actorOf(identity)),
  }),
  route({
    method: 'POST',
    path: '/api/v1/offers/:reference/refuse',
    listener: 'api',
    action: 'image.write',
    summary: 'Turn an offered image down',
    input: z.strictObject({ words: z.string().min(1).max(1024).nullable().default(null) }),
    handle: async ({ site, params, identity }, { words }) => refuseOffer(site, params['reference'] ?? '', words, actorOf(identity)),
  }),
];
