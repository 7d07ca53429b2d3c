// The admin API described as OpenAPI 3.1, from its routes.
import type { Route, Schema } from './api.ts';

const failure: Schema = { type: 'object', properties: { error: { type: 'string' } }, required: ['error'] };

export function describeApi(routes: readonly Route[], version: string): Schema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    paths[route.path]![route.method.toLowerCase()] = describeRoute(route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Lethe admin API',
      version,
      description:
        'Clients are named by pseudonyms. No answer holds a payload, a topic, a user name, a client identifier or an address.',
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'the token of admin.token_file' } },
      responses: {
        failed: { description: 'What was wrong', content: { 'application/json': { schema: failure } } },
      },
    },
  };
}

function describeRoute({ method, path, summary, isPublic, query, body, answer, answerType }: Route): Schema {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const behind = (query ?? []).map((parameter) => ({ ...parameter, in: 'query', required: false }));
  const schema = answer ?? (answerType === undefined ? { type: 'object' } : { type: 'string' });
  return {
    operationId: operationId(method, path),
    summary,
    ...(isPublic === true ? { security: [] } : {}),
    ...(inPath.length + behind.length === 0 ? {} : { parameters: [...inPath, ...behind] }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    responses: {
      200: { description: summary, content: { [answerType ?? 'application/json']: { schema } } },
      default: { $ref: '#/components/responses/failed' },
    },
  };
}

/** `GET /v1/clients/{client}` is getClientsClient. */
function operationId(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && word !== 'v1');
  const name = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');
  return method.toLowerCase() + (name === '' ? 'Page' : name);
}
