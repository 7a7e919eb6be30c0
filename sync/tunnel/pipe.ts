import { connect } from 'node:net';

/**
 * The program that rsync starts as its remote shell: it joins rsync's standard streams with `serve`, which holds
 * the TLS connection to the parent. It knows nothing but a local socket and a ticket that is good for one
 * connection, both from the environment, where no other user can read them. When either side goes, it goes.
 */
const { WAYSTATION_PIPE_SOCKET: path, WAYSTATION_PIPE_TICKET: ticket } = process.env;
if (path === undefined || ticket === undefined) {
  process.stderr.write('this program is started by rsync, not by people\n');
  process.exit(64);
}

const socket = connect({ path, allowHalfOpen: true });
socket.write(`${ticket}\n`);
process.stdin.pipe(socket);
socket.pipe(process.stdout, { end: false });
// rsync waits for its remote shell to exit before it closes its own end: the end of the link is the end of this program.
// The callback of an empty write may never come when rsync has closed its side already (seen: rsync then waited for us
// until the run's time-out), so the octets still to be written are what is looked at.
const leaveWhenWritten = () => (process.stdout.writableLength === 0 ? process.exit(0) : setTimeout(leaveWhenWritten, 5));
socket.on('end', leaveWhenWritten);
process.stdout.on('error', () => process.exit(0));
socket.on('error', (error) => {
  process.stderr.write(`the server that holds the link is gone: ${error.message}\n`);
  process.exit(1);
});
socket.on('close', () => process.exit(0));
