import type { Answered } from './app.ts';

/** Numbers of one running server, as Prometheus reads them (text exposition format 0.0.4). */
export type Metrics = {
  count(answer: Answered): void;
  render(gauges: Readonly<Record<string, number>>): string;
};

export function createMetrics(): Metrics {
  const answers = new Map<string, number>();
  return {
    count: ({ method, status }) => {
      const labels = `method="${method}",status="${status}"`;
      answers.set(labels, (answers.get(labels) ?? 0) + 1);
    },
    render: (gauges) => {
      const lines = ['# TYPE waystation_http_answers_total counter'];
      for (const [labels, count] of answers) lines.push(`waystation_http_answers_total{${labels}} ${count}`);
      for (const [name, value] of Object.entries(gauges)) lines.push(`# TYPE waystation_${name} gauge`, `waystation_${name} ${value}`);
      return `${lines.join('\n')}\n`;
    },
  };
}
