import type { ServerResponse } from 'node:http';

/** A child asks at its own hours: its connection may wait that long for the next question. */
const IDLE_SECONDS = 3600;

/**
 * Answers another server on a connection that stays open for an hour of silence, where strangers get seconds. What
 * only browsers read is left out: over 500 branches and every few minutes it would be more than the answers.
 */
export function keepOpenForServer(response: ServerResponse): void {
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  response.setHeader('connection', 'keep-alive');
  response.setHeader('keep-alive', `timeout=${IDLE_SECONDS}`);
  const { socket } = response;
  // Node sets its own time for strangers in a listener before ours.
  response.once('finish', () => socket?.setTimeout(IDLE_SECONDS * 1000));
}
