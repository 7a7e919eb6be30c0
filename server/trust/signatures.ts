import { createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';
import type { z } from 'zod';
import { canonicalJson } from '../../core/canonical-json.ts';
import { digestOf, type Envelope, signedBytes } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, printable } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import type { Catalogue, CatalogueHead, Endorsement, SignerRecord } from '../../core/sync-protocol.ts';
import type { SentCommand } from '../db/shared/commands.ts';

/** What the CA's signature in a SignerRecord covers. */
export function signerBytes(record: Pick<SignerRecord, 'serverId' | 'keyId' | 'publicKey'>): Buffer {
  const { serverId, keyId, publicKey } = record;
  return Buffer.from(`waystation-signer-1\n${canonicalJson({ serverId, keyId, publicKey })}`);
}

/** What the parent's signature in a Catalogue covers. */
export function catalogueBytes(head: z.infer<typeof CatalogueHead>): Buffer {
  return Buffer.from(`waystation-catalogue-1\n${canonicalJson(head)}`);
}

/** What an endorser's signature covers. */
export function endorsementBytes(endorsement: Omit<Endorsement, 'keyId' | 'signature'>): Buffer {
  const { endorser, serverId, name, caPin } = endorsement;
  return Buffer.from(`waystation-endorsement-1\n${canonicalJson({ endorser, serverId, name, caPin })}`);
}

/** What the sender's signature of a command in a shared database covers. */
export function commandBytes(command: Omit<SentCommand, 'keyId' | 'signature'>): Buffer {
  const { sender, receiver, seq, after, id, dest, origin, kind, body, actor, createdAt } = command;
  const said = { sender, receiver, seq, after, id, dest, origin, kind, body, actor, createdAt };
  return Buffer.from(`waystation-command-1\n${canonicalJson(said)}`);
}

/** Checks that the server whose signer was verified before sent this. Throws `bad_signature`. */
export function verifyCommand(command: SentCommand, signer: SignerRecord): void {
  const isOf = command.sender === signer.serverId && command.keyId === signer.keyId;
  if (isOf && verifyBytes(signer, commandBytes(command), command.signature)) return;
  throw refused(`server ${printable(command.sender)} did not send command ${printable(command.id)}`);
}

/** Checks that the endorser whose signer was verified before said this. Throws `bad_signature`. */
export function verifyEndorsement(endorsement: Endorsement, signer: SignerRecord): void {
  const isOf = endorsement.endorser === signer.serverId && endorsement.keyId === signer.keyId;
  if (isOf && verifyBytes(signer, endorsementBytes(endorsement), endorsement.signature)) return;
  throw refused(`server ${printable(endorsement.endorser)} did not vouch for server ${printable(endorsement.serverId)}`);
}

/** Checks that the CA with this pin vouches for the signing key. Throws `bad_signature`. */
export function verifySigner(record: SignerRecord, pin: Digest): void {
  const ca = readCa(record);
  if (spkiDigest(ca.publicKey) !== pin)
    throw refused(`the signer of server ${printable(record.serverId)} belongs to another CA than ${pin}`);
  const key = readKey(record);
  if (spkiDigest(key) !== record.keyId) throw refused(`the signer's key id ${record.keyId} is not that of its key`);
  if (!verify('sha256', signerBytes(record), ca.publicKey, Buffer.from(record.signature, 'base64'))) {
    throw refused(`the CA ${pin} did not sign the signer ${record.keyId}`);
  }
}

/**
 * Checks body, key and signature of an object against the signer that was verified before. A signer counts
 * only for objects of its own origin. Throws `bad_signature`.
 */
export function verifyEnvelope(envelope: Envelope, signer: SignerRecord): void {
  if (envelope.origin !== signer.serverId) {
    throw refused(`object ${envelope.id} is of origin ${envelope.origin}, its signer belongs to ${printable(signer.serverId)}`);
  }
  if (envelope.keyId !== signer.keyId) throw refused(`object ${envelope.id} is signed by ${envelope.keyId}, not by ${signer.keyId}`);
  if (digestOf(envelope.body) !== envelope.digest) throw refused(`the body of object ${envelope.id} is not the one that was signed`);
  if (!verifyBytes(signer, signedBytes(envelope), envelope.signature)) throw refused(`the signature of object ${envelope.id} is wrong`);
}

/** Checks the signature over a catalogue's head and that the head speaks of these objects. Throws `bad_signature`. */
export function verifyCatalogueHead(catalogue: Catalogue, signer: SignerRecord): void {
  const { head } = catalogue;
  if (catalogue.keyId !== signer.keyId) throw refused(`the catalogue is signed by ${catalogue.keyId}, not by ${signer.keyId}`);
  if (head.serverId !== signer.serverId) throw refused(`the catalogue is of server ${printable(head.serverId)}, not of ${signer.serverId}`);
  if (!verifyBytes(signer, catalogueBytes(head), catalogue.signature)) throw refused("the signature of the catalogue's head is wrong");
  if (objectsDigest(catalogue.objects) !== head.objectsDigest)
    throw refused('the objects of the catalogue are not those its head speaks of');
}

/** SHA-256 over the list of object digests, in order: `CatalogueHead.objectsDigest`. */
export function objectsDigest(objects: readonly { readonly digest: string }[]): Digest {
  return digestOf(objects.map((object) => object.digest));
}

/** Whether the signer wrote these bytes (Ed25519; the signature in base64). */
export function verifyText(signer: SignerRecord, bytes: Buffer, signature: string): boolean {
  return verifyBytes(signer, bytes, signature);
}

function verifyBytes(signer: SignerRecord, bytes: Buffer, signature: string): boolean {
  return verify(null, bytes, readKey(signer), Buffer.from(signature, 'base64'));
}

function readCa(record: SignerRecord): X509Certificate {
  try {
    return new X509Certificate(record.ca);
  } catch (cause) {
    throw refused(`the CA certificate of server ${printable(record.serverId)} cannot be read`, cause);
  }
}

function readKey(record: SignerRecord): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(record.publicKey, 'base64'), format: 'der', type: 'spki' });
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    throw refused(`the signing key of server ${printable(record.serverId)} cannot be read`, cause);
  }
  throw refused(`the signing key of server ${printable(record.serverId)} is not Ed25519`);
}

function refused(message: string, cause?: unknown): AppError {
  return new AppError('bad_signature', message, {
    hint: 'nothing of it was taken; if the server was rebuilt with new keys, enrol again',
    cause,
  });
}

/** The beginning of a signing key's id: by it a child says which key of its parent it knows. */
export function signerHint(keyId: string): string {
  return keyId.slice('sha256:'.length, 'sha256:'.length + 16);
}
