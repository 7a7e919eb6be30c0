import { type ZodType, z } from 'zod';
import type { Route } from './route.ts';

type Document = Readonly<Record<string, unknown>>;

/** The OpenAPI 3.1 document of the HTTPS listener, made from the routes' own schemas. */
export function openApiDocument(routes: readonly Route[], version: string): Document {
  const paths: Record<string, Record<string, Document>> = {};
  for (const route of routes.filter((candidate) => candidate.listener === 'api')) {
    const path = route.path.replaceAll(/[:*]([A-Za-z]+)/g, '{$1}');
    const methods = paths[path] ?? {};
    methods[route.method.toLowerCase()] = operation(route);
    paths[path] = methods;
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Waystation', version },
    paths,
    components: { schemas: { Problem: PROBLEM }, securitySchemes: SECURITY },
  };
}

const SECURITY = {
  operatorToken: { type: 'http', scheme: 'bearer', description: 'an operator token, wst_…' },
  clientCertificate: { type: 'mutualTLS', description: 'a server that enrolled here, or the agent of a target' },
};

const text = { type: 'string' };
const PROBLEM = {
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: { type: text, title: text, status: { type: 'integer' }, code: text, detail: text, hint: text },
};

function operation(route: Route): Document {
  const names = [...route.path.matchAll(/[:*]([A-Za-z]+)/g)].map((match) => match[1] as string);
  const parameters: Document[] = names.map((name) => ({ name, in: 'path', required: true, schema: text }));
  if (route.method === 'GET' && route.input) parameters.push(...queryParameters(route.input));
  const answer = route.output ? { content: { 'application/json': { schema: schemaOf(route.output, 'output') } } } : {};
  return {
    summary: route.summary,
    'x-action': route.action,
    security: [{ operatorToken: [] }, { clientCertificate: [] }],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.method !== 'GET' && route.input
      ? { requestBody: { content: { 'application/json': { schema: schemaOf(route.input, 'input') } } } }
      : {}),
    responses: {
      '2XX': { description: 'done', ...answer },
      default: {
        description: 'a problem',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function queryParameters(input: ZodType): Document[] {
  const schema = schemaOf(input, 'input') as { properties?: Record<string, unknown>; required?: readonly string[] };
  return Object.entries(schema.properties ?? {}).map(([name, member]) => ({
    name,
    in: 'query',
    required: schema.required?.includes(name) ?? false,
    schema: member,
  }));
}

function schemaOf(schema: ZodType, io: 'input' | 'output'): Document {
  // What JSON Schema cannot say (transforms, refinements) is left open rather than left out.
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
