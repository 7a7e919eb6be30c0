import { connect, createServer, type Socket } from 'node:net';

/** Two ends of a TCP connection on this machine. */
export async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const pair: [Socket, Socket] = [client, await accepted];
  server.close();
  return pair;
}
