import { z } from 'zod';
import { DOCUMENT_TYPES, MenuContent, ParameterContent, type PlainDocument } from '../../../core/document.ts';
import { deleteDocument, documentsInForce, getDocument, setDocument } from '../../documents.ts';
import type { Site } from '../../site.ts';
import { actorOf } from '../actor.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const Document = z.object({
  type: z.enum(DOCUMENT_TYPES),
  name: z.string(),
  id: z.string(),
  origin: z.string(),
  /** Made here, so that it can be changed here and no parent's document takes its place. */
  local: z.boolean(),
  revision: z.number().int(),
  content: z.union([MenuContent, ParameterContent]),
});

/** A document as the API and `--json` show it. */
export type DocumentView = z.infer<typeof Document>;

/** Plain documents by type and name: boot menu entries and parameters. */
export const DOCUMENT_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/documents',
    listener: 'api',
    action: 'document.read',
    summary: 'The documents in force here',
    output: z.object({ items: z.array(Document), next: z.null() }),
    handle: async ({ site }) => ({ items: (await documentsInForce(site)).map((one) => view(site, one)), next: null }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/documents/:type/:name',
    listener: 'api',
    action: 'document.read',
    summary: 'One document',
    output: Document,
    handle: async ({ site, params }) => view(site, await getDocument(site, params['type'] ?? '', params['name'] ?? '')),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/documents/:type/:name',
    listener: 'api',
    action: 'document.write',
    summary: 'Make a document of this server or give it new content',
    input: z.strictObject({ content: z.json() }),
    output: Document,
    handle: async (context, { content }) => view(context.site, await setDocument(context.site, changeOf(context), content)),
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/documents/:type/:name',
    listener: 'api',
    action: 'document.write',
    summary: 'Delete a document of this server, here and at its children',
    output: Document,
    handle: async (context) => view(context.site, await deleteDocument(context.site, changeOf(context))),
  }),
];

function changeOf({ params, identity }: RouteContext) {
  return { type: params['type'] ?? '', name: params['name'] ?? '', actor: actorOf(identity) };
}

function view(site: Pick<Site, 'self'>, { type, name, id, origin, revision, content }: PlainDocument): DocumentView {
  return { type, name, id, origin, local: origin === site.self.id, revision, content };
}
