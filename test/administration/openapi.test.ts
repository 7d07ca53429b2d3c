// The description of the admin API: of the shape that OpenAPI 3.1 asks for, of every route, and true of what the routes answer.
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { routes } from '../../engine/administration/api.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { useAdmin } from './admin.ts';

const rig = useAdmin();

interface Operation {
  readonly operationId: string;
  readonly security?: readonly unknown[];
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
}

interface Description {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const description = async () => (await rig.ask('/v1/openapi.json')).json<Description>();

test('is valid OpenAPI 3.1', async () => {
  const found = await description();
  expect(found.openapi).toBe('3.1.0');
  expect(await new Validator().validate(structuredClone({ ...found }))).toEqual({ valid: true });
  // The validator does find what is wrong.
  expect((await new Validator().validate({ ...found, paths: { 'no-slash': {} }, info: 1 })).valid).toBe(false);
});

test('has every route, once, with its parameters and whether it needs the token', async () => {
  const { paths } = await description();
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(described.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort());
  const operations = routes.map((route) => ({ route, operation: paths[route.path]![route.method.toLowerCase()]! }));
  expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(routes.length);
  for (const { route, operation } of operations) {
    const wanted = [
      ...[...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      ...(route.query ?? []).map(({ name }) => name),
    ];
    expect((operation.parameters ?? []).map(({ name }) => name)).toEqual(wanted);
    expect(operation.security !== undefined).toBe(route.isPublic === true);
  }
});

test('says of what type an answer is', async () => {
  const { paths } = await description();
  for (const { path } of routes.filter(({ method, path }) => method === 'GET' && !path.includes('{'))) {
    const { status, headers } = await rig.ask(path);
    if (status !== 200) continue;
    const [type] = Object.keys(paths[path]!['get']!.responses['200']!.content!);
    expect(String(headers['content-type']).split(';')[0], path).toBe(type);
  }
});

test('names the members of a client as they come', async () => {
  await mqttJs({ port: rig.broker.tcp, level: 5 });
  const { clients } = (await rig.ask('/v1/clients')).json<{ clients: Record<string, unknown>[] }>();
  const route = routes.find(({ method, path }) => method === 'GET' && path === '/v1/clients/{client}')!;
  const { properties } = route.answer as { properties: Record<string, { oneOf?: { properties?: object }[] }> };
  expect(Object.keys(clients[0]!).sort()).toEqual(Object.keys(properties).sort());
  const connection = properties['connection']!.oneOf!.find((one) => one.properties !== undefined)!;
  expect(Object.keys(clients[0]!['connection'] as object).sort()).toEqual(Object.keys(connection.properties!).sort());
});
