/** `[metrics]` */
import { table } from '../field.ts';
import { endpoint } from '../value/net.ts';

export const metrics = table('For Prometheus.', {
  listen: endpoint({ doc: 'Where the keeper serves /metrics.', default: '127.0.0.1:9125', addressOnly: true }),
});
