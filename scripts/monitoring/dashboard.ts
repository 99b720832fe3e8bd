// The Grafana dashboard as code: rows of panels, each a question that an operator asks. `npm run k8s:generate` writes the JSON.

interface Panel {
  readonly title: string;
  readonly description: string;
  readonly unit: 'short' | 's' | 'percentunit' | 'ops' | 'bytes' | 'dtdurations';
  /** PromQL, and how a line of it is called. */
  readonly queries: readonly (readonly [expr: string, legend: string])[];
  /** From here on it is drawn in red. */
  readonly alertAbove?: number;
  /** Default: lines over time. */
  readonly kind?: 'stat';
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** Gauges of all groups come from one elected process, so that `max` over pods is the value; see docs/metrics.md. */
export const ROWS: readonly Row[] = [
  {
    title: 'Is it well?',
    panels: [
      {
        title: 'Workers up',
        description: 'Pods whose /health answers 200.',
        unit: 'short',
        kind: 'stat',
        queries: [['sum by (worker) (worker_up)', '{{worker}}']],
      },
      {
        title: 'Workers ready',
        description: 'Pods whose loops have succeeded lately.',
        unit: 'short',
        kind: 'stat',
        queries: [['sum by (worker) (worker_ready)', '{{worker}}']],
      },
      {
        title: 'Delivered within 30 s, last 6 h',
        description: 'The objective is 99.9 %.',
        unit: 'percentunit',
        kind: 'stat',
        queries: [['1 - outbox:late_deliveries:ratio_rate6h', '{{group}}']],
      },
      {
        title: 'Dead letters',
        description: 'Failed events that wait for a person.',
        unit: 'short',
        kind: 'stat',
        alertAbove: 1,
        queries: [['max by (group) (outbox_dead_letters)', '{{group}}']],
      },
    ],
  },
  {
    title: 'Delivery',
    panels: [
      {
        title: 'Undelivered events',
        description: 'Committed and not delivered yet, by group.',
        unit: 'short',
        queries: [['max by (group) (outbox_lag_events)', '{{group}}']],
      },
      {
        title: 'Age of the oldest undelivered event',
        description: 'Grows while a group stands still.',
        unit: 's',
        alertAbove: 300,
        queries: [['max by (group) (outbox_oldest_undelivered_age_seconds)', '{{group}}']],
      },
      {
        title: 'From writing to delivery',
        description: 'On the clock of the database; median and 99th percentile.',
        unit: 's',
        alertAbove: 30,
        queries: [
          [
            'histogram_quantile(0.5, sum by (group, le) (rate(outbox_delivery_lag_seconds_bucket[$__rate_interval])))',
            '{{group}} p50',
          ],
          [
            'histogram_quantile(0.99, sum by (group, le) (rate(outbox_delivery_lag_seconds_bucket[$__rate_interval])))',
            '{{group}} p99',
          ],
        ],
      },
      {
        title: 'Deliveries a second',
        description: 'Events delivered, by group.',
        unit: 'ops',
        queries: [
          ['sum by (group) (rate(outbox_delivery_lag_seconds_count[$__rate_interval]))', '{{group}}'],
        ],
      },
      {
        title: 'Late deliveries as a share',
        description: 'What took longer than 30 s. The alerts look at these windows.',
        unit: 'percentunit',
        alertAbove: 0.001,
        queries: [
          ['outbox:late_deliveries:ratio_rate5m', '{{group}} 5m'],
          ['outbox:late_deliveries:ratio_rate1h', '{{group}} 1h'],
          ['outbox:late_deliveries:ratio_rate3d', '{{group}} 3d'],
        ],
      },
      {
        title: 'Parked, dead, paused, holding the log back',
        description: 'Parked events are tried again by themselves. A paused group waits for its sink.',
        unit: 'short',
        queries: [
          ['max by (group) (outbox_parked_events)', '{{group}} parked'],
          ['max by (group) (outbox_dead_letters)', '{{group}} dead'],
          ['max by (group) (outbox_group_paused)', '{{group}} paused'],
          ['max by (group) (outbox_retention_blocked)', '{{group}} holds the log'],
        ],
      },
    ],
  },
  {
    title: 'Loops and processes',
    panels: [
      {
        title: 'Events handled a second',
        description: 'By worker.',
        unit: 'ops',
        queries: [['sum by (worker) (rate(worker_events_total[$__rate_interval]))', '{{worker}}']],
      },
      {
        title: 'Batches',
        description: 'How long they take: median and 99th percentile.',
        unit: 's',
        queries: [
          [
            'histogram_quantile(0.5, sum by (worker, le) (rate(worker_batch_duration_seconds_bucket[$__rate_interval])))',
            '{{worker}} p50',
          ],
          [
            'histogram_quantile(0.99, sum by (worker, le) (rate(worker_batch_duration_seconds_bucket[$__rate_interval])))',
            '{{worker}} p99',
          ],
        ],
      },
      {
        title: 'Failed ticks a second',
        description: 'By loop. A sink that is away is no failed tick.',
        unit: 'ops',
        queries: [
          ['sum by (worker, loop) (rate(worker_loop_errors_total[$__rate_interval]))', '{{worker}} {{loop}}'],
        ],
      },
      {
        title: 'Since a loop last succeeded',
        description: 'The youngest success over all pods.',
        unit: 's',
        alertAbove: 900,
        queries: [
          [
            'time() - max by (worker, loop) (worker_loop_last_success_timestamp_seconds)',
            '{{worker}} {{loop}}',
          ],
        ],
      },
      {
        title: 'Stalls and blocked event loops',
        description: 'Stalls since the start, and how long ago the event loop last beat.',
        unit: 'short',
        queries: [
          ['sum by (worker) (worker_stalls_total)', '{{worker}} stalls'],
          ['max by (worker) (worker_event_loop_beat_age_seconds)', '{{worker}} beat age, s'],
        ],
      },
      {
        title: 'Connections of the pools',
        description: 'Busy ones against the most that a pool opens, and who waits for one, by pod.',
        unit: 'short',
        queries: [
          ['sum by (job, instance) (postgres_pool_connections{state="busy"})', '{{job}} {{instance}} busy'],
          ['max by (job) (postgres_pool_limit)', '{{job}} limit'],
          ['sum by (job, instance) (postgres_pool_waiting)', '{{job}} {{instance}} waiting'],
        ],
      },
      {
        title: 'Memory',
        description: 'Resident, by pod. The limits stand in the manifests.',
        unit: 'bytes',
        queries: [
          ['process_resident_memory_bytes{job=~"worker|push-worker|watch-worker"}', '{{job}} {{instance}}'],
        ],
      },
    ],
  },
  {
    title: 'Sinks',
    panels: [
      {
        title: 'Search: documents a second',
        description: 'That the live index was told of.',
        unit: 'ops',
        queries: [
          [
            'sum by (projection, operation) (rate(search_documents_total[$__rate_interval]))',
            '{{projection}} {{operation}}',
          ],
        ],
      },
      {
        title: 'Search: time the engine takes',
        description: '99th percentile.',
        unit: 's',
        queries: [
          [
            'histogram_quantile(0.99, sum by (engine, operation, le) (rate(search_request_duration_seconds_bucket[$__rate_interval])))',
            '{{engine}} {{operation}}',
          ],
        ],
      },
      {
        title: 'Push: attempts a second',
        description: 'By what became of them.',
        unit: 'ops',
        queries: [
          [
            'sum by (service, outcome) (rate(push_deliveries_total[$__rate_interval]))',
            '{{service}} {{outcome}}',
          ],
        ],
      },
      {
        title: 'Push: services in trouble',
        description: 'Open breakers, and services that refuse our keys.',
        unit: 'short',
        alertAbove: 1,
        queries: [
          ['sum by (service) (push_breakers_open)', '{{service}} breakers'],
          ['max by (service) (push_services_denying)', '{{service}} denying'],
        ],
      },
      {
        title: 'Mail: requests to Gmail a second',
        description: 'By what became of them.',
        unit: 'ops',
        queries: [
          [
            'sum by (method, outcome) (rate(gmail_requests_total[$__rate_interval]))',
            '{{method}} {{outcome}}',
          ],
        ],
      },
      {
        title: 'Mail: watches and syncs',
        description:
          'Until the first watch ends, and since the mailbox that was synced longest ago was synced.',
        unit: 's',
        queries: [
          ['min(gmail_watch_expiry_seconds)', 'first watch ends in'],
          ['max(gmail_oldest_sync_age_seconds)', 'oldest sync'],
        ],
      },
      {
        title: 'Mail: mailboxes',
        description: 'By state, and those without a watch.',
        unit: 'short',
        queries: [
          ['max by (state) (gmail_connections)', '{{state}}'],
          ['max(gmail_unwatched_connections)', 'unwatched'],
        ],
      },
      {
        title: 'Pub/Sub',
        description: 'Messages pulled, events published, and whether a stream stands.',
        unit: 'short',
        queries: [
          ['sum by (outcome) (rate(pubsub_messages_total[$__rate_interval]))', 'pulled {{outcome}}/s'],
          ['sum by (outcome) (rate(pubsub_bridge_events_total[$__rate_interval]))', 'bridge {{outcome}}/s'],
          ['max(pubsub_stream_up)', 'stream'],
          ['max(pubsub_dead_letters)', 'not understood'],
        ],
      },
    ],
  },
  {
    title: 'Long jobs',
    panels: [
      {
        title: 'Imports: rows a second',
        description: 'By what became of them.',
        unit: 'ops',
        queries: [['sum by (outcome) (rate(imports_rows_total[$__rate_interval]))', '{{outcome}}']],
      },
      {
        title: 'Imports: open, and the longest wait',
        description: 'Of the database, the same from every worker.',
        unit: 'short',
        queries: [
          ['max by (state) (imports_open)', '{{state}}'],
          ['max(imports_oldest_queued_age_seconds)', 'longest wait, s'],
        ],
      },
      {
        title: 'Runtimes',
        description: 'Users with a runtime, by its state, and those that wait for a place.',
        unit: 'short',
        queries: [
          ['max by (state) (runtimes)', '{{state}}'],
          ['max(runtimes_waiting_for_place)', 'waiting'],
        ],
      },
      {
        title: 'Runtimes: decisions a second',
        description: 'Each is a line of the log, with its reason.',
        unit: 'ops',
        queries: [['sum by (decision) (rate(runtimes_decisions_total[$__rate_interval]))', '{{decision}}']],
      },
    ],
  },
];

const WIDTH = 24;

/** Grafana's model, as it is put into the ConfigMap. */
export function dashboard(): object {
  let y = 0;
  let id = 0;
  const panels: object[] = [];
  for (const row of ROWS) {
    panels.push({
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { h: 1, w: WIDTH, x: 0, y },
    });
    y += 1;
    const columns = row.panels.every(({ kind }) => kind === 'stat') ? 4 : 2;
    const w = WIDTH / columns;
    const h = columns === 4 ? 5 : 8;
    row.panels.forEach((panel, index) => {
      panels.push(
        panelOf(panel, ++id, { h, w, x: (index % columns) * w, y: y + Math.floor(index / columns) * h }),
      );
    });
    y += Math.ceil(row.panels.length / columns) * h;
  }
  return {
    uid: 'pulsebox',
    title: 'Pulsebox',
    tags: ['pulsebox'],
    schemaVersion: 39,
    editable: false,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    timezone: 'browser',
    templating: {
      list: [{ name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus' }],
    },
    panels,
  };
}

/** Every expression of the dashboard. */
export function expressions(): readonly string[] {
  return ROWS.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.map(([expr]) => expr)));
}

function panelOf(panel: Panel, id: number, gridPos: object): object {
  const { title, description, unit, kind, queries, alertAbove } = panel;
  const datasource = { type: 'prometheus', uid: '${datasource}' };
  const steps = [
    { color: 'green', value: null },
    ...(alertAbove === undefined ? [] : [{ color: 'red', value: alertAbove }]),
  ];
  return {
    id,
    type: kind ?? 'timeseries',
    title,
    description,
    datasource,
    gridPos,
    targets: queries.map(([expr, legendFormat], index) => ({
      refId: String.fromCodePoint(65 + index),
      datasource,
      expr,
      legendFormat,
    })),
    fieldConfig: {
      defaults: { unit, min: 0, thresholds: { mode: 'absolute', steps } },
      overrides: [],
    },
    options: {},
  };
}
