/**
 * Run in a client's namespace with a JSON list of questions {hex, to, port}: sends them from port 68 one after another
 * and prints, as one JSON list per question, what came back in `waitMs` after the last: [{from, port, hex}].
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

type Question = { readonly hex: string; readonly to: string; readonly port: number; readonly waitMs: number };

const socket = createSocket({ type: 'udp4', reuseAddr: true });
socket.bind(68);
await once(socket, 'listening');
socket.setBroadcast(true);
let heard: { from: string; port: number; hex: string }[] = [];
socket.on('message', (bytes, from) => heard.push({ from: from.address, port: from.port, hex: bytes.toString('hex') }));
for (const question of JSON.parse(process.argv[2] ?? '[]') as Question[]) {
  heard = [];
  socket.send(Buffer.from(question.hex, 'hex'), question.port, question.to);
  await sleep(question.waitMs);
  process.stdout.write(`${JSON.stringify(heard)}\n`);
}
socket.close();
