import { ask, Refusal } from './ask.ts';
import type { Followed } from './follow.ts';

type Upload = { readonly id: string; readonly sizeBytes: number; readonly doneBytes: number; readonly pieceBytes: number };

/** Half a minute at 1 Mbit/s: the server gives one request a minute. */
const PIECE_BYTES = 4 * 1_048_576;
const TRIES = 8;
const FIRST_PAUSE_MS = 500;

/**
 * Sends a file to this server piece by piece and gives the id of the upload. A piece that is lost on the way is sent again; the file
 * is read as it is sent, never as a whole. Given up, it is forgotten at the server too.
 */
export async function uploadFile(file: File, { onProgress, signal }: Followed): Promise<string> {
  const started = performance.now();
  let upload = await ask<Upload>('/api/v1/archives/uploads', { method: 'POST', json: { sizeBytes: file.size }, signal });
  const path = `/api/v1/archives/uploads/${upload.id}`;
  try {
    while (upload.doneBytes < file.size) {
      upload = await sendPiece(file, path, upload, signal);
      const { doneBytes } = upload;
      const rate = doneBytes / (performance.now() - started);
      onProgress({
        percent: (100 * doneBytes) / file.size,
        doneBytes,
        totalBytes: file.size,
        etaSeconds: (file.size - doneBytes) / rate / 1000,
      });
    }
    return upload.id;
  } catch (error) {
    void ask(path, { method: 'DELETE' }).catch(() => undefined); // the server forgets it by itself within an hour
    throw error;
  }
}

async function sendPiece(file: File, path: string, upload: Upload, signal: AbortSignal): Promise<Upload> {
  let at = upload;
  for (let tried = 1; ; tried += 1) {
    try {
      const octets = file.slice(at.doneBytes, at.doneBytes + Math.min(PIECE_BYTES, at.pieceBytes));
      return await ask<Upload>(`${path}?offset=${at.doneBytes}`, { method: 'PUT', octets, signal });
    } catch (error) {
      const isLost = error instanceof Refusal && (error.status === 0 || error.status === 408 || error.code === 'wrong_state');
      if (!isLost || tried === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** (tried - 1)));
      at = await ask<Upload>(path, { signal }).catch(() => at); // still away: the next try says so
    }
  }
}
