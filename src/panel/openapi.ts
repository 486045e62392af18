/** The OpenAPI 3.1 document of the API, made from the table of its routes. */
import { type Route, routes } from './routes.ts';
import type { Schema } from './schema.ts';

const reply = (description: string): unknown => ({ description, content: { 'application/json': { schema: {} } } });

export function openApi(version: string): object {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Postern', version, description: 'The API of a Postern gateway.' },
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: 'postern' },
      },
    },
    security: [{ token: [] }, { session: [] }],
    paths,
  };
}

function operation({ summary, role, params = {}, query = {}, body }: Route): unknown {
  const parameter =
    (where: 'path' | 'query') =>
    ([name, { description, ...schema }]: readonly [string, Schema]): unknown => ({
      ...{ name, in: where, required: where === 'path', description, schema },
    });
  return {
    summary,
    description: `Takes the role "${role}".`,
    parameters: [...Object.entries(params).map(parameter('path')), ...Object.entries(query).map(parameter('query'))],
    ...(body && {
      requestBody: { required: true, content: { 'application/json': { schema: { type: 'object', ...body } } } },
    }),
    responses: {
      '200': reply('The answer.'),
      '400': reply('Something in the question is wrong: `field` names it.'),
      '401': reply('Nobody is logged in, or the token does not hold.'),
      '403': reply('The role does not reach, or the change came from another site.'),
    },
  };
}
