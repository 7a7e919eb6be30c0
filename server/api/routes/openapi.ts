import packageJson from '../../../package.json' with { type: 'json' };
import { openApiDocument } from '../openapi.ts';
import { type Route, route } from '../route.ts';

/** The document about the other routes. It holds nothing that the source does not, so anyone may read it. */
export function openApiRoute(routes: readonly Route[]): Route {
  const document = openApiDocument(routes, packageJson.version);
  return route({
    method: 'GET',
    path: '/api/v1/openapi.json',
    listener: 'api',
    action: 'health.read',
    summary: 'This interface as OpenAPI 3.1',
    handle: async () => document,
  });
}
