import { z } from 'zod';
import type { Envelope } from './envelope.ts';
import { AppError } from './errors.ts';
import { type Id, isName, type Name, printable } from './ids.ts';

/**
 * Plain documents: small replicated objects that servers act on, `{type, name, content}` in an envelope of kind `document`.
 *
 *   menu       an entry of the boot menu
 *   parameter  a value that boot entries use by its name, as `{{name}}`
 *
 * A type that this release does not know is kept and passed on, and does nothing here.
 */
export const DOCUMENT_TYPES = ['menu', 'parameter'] as const;
export type DocumentType = (typeof DOCUMENT_TYPES)[number];

/** One word of an iPXE script, in which parameters may stand. */
const location = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^([A-Za-z0-9:/._=@%[\],+~-]|\{\{[a-z0-9._-]+\}\})+$/, 'must be a URL of plain characters, with {{parameter}} where values go');

const BootAction = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('disk') }),
  z.strictObject({ kind: z.literal('engine') }),
  z.strictObject({
    kind: z.literal('linux'),
    kernel: location,
    initrd: z.array(location).max(8).default([]),
    arguments: z
      .string()
      .max(1024)
      .regex(/^[\x20-\x7e]*$/, 'must be plain ASCII')
      .default(''),
  }),
  z.strictObject({ kind: z.literal('chain'), location }),
]);
export type BootAction = z.infer<typeof BootAction>;

export const MenuContent = z.strictObject({
  title: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9 .,:()/_@%+-]{0,79}$/, 'must be 1 to 80 letters, digits, spaces and .,:()/_@%+-'),
  /** Entries stand in this order, then by name. */
  position: z.number().int().min(0).max(9999).default(100),
  /** Only for such machines. */
  arch: z.enum(['amd64', 'arm64']).optional(),
  firmware: z.enum(['bios', 'uefi']).optional(),
  boot: BootAction,
});
export type MenuContent = z.infer<typeof MenuContent>;

export const ParameterContent = z.strictObject({
  value: z
    .string()
    .max(1024)
    .regex(/^[\x20-\x7e]*$/, 'must be plain ASCII'),
});

const CONTENT = { menu: MenuContent, parameter: ParameterContent } as const;

/** A document as this server knows it. */
export type PlainDocument = { readonly id: Id; readonly origin: Id; readonly revision: number; readonly name: Name } & (
  | { readonly type: 'menu'; readonly content: MenuContent }
  | { readonly type: 'parameter'; readonly content: z.infer<typeof ParameterContent> }
);

/** The document in an envelope; undefined for a tombstone and for what this release does not know. */
export function readDocument({ id, origin, revision, body }: Envelope): PlainDocument | undefined {
  const { type, name, content } = (body ?? {}) as { type?: unknown; name?: unknown; content?: unknown };
  if (typeof name !== 'string' || !isName(name) || !isDocumentType(type)) return undefined;
  const parsed = CONTENT[type].safeParse(content);
  return parsed.success ? ({ id, origin, revision, type, name, content: parsed.data } as PlainDocument) : undefined;
}

export function isDocumentType(type: unknown): type is DocumentType {
  return DOCUMENT_TYPES.includes(type as DocumentType);
}

/** Throws `usage` for a type that there is not. */
export function parseDocumentType(text: string): DocumentType {
  if (isDocumentType(text)) return text;
  throw new AppError('usage', `"${printable(text)}" is not a type of document`, { hint: DOCUMENT_TYPES.join(' or ') });
}

/**
 * A parameter stands in boot scripts, which everybody on the wire can read, and is copied to every branch. Who calls one by
 * such a name is about to publish a secret.
 */
const SECRET = /passw|secret|token|credential|private|api[._-]?key|passphrase/;

/** The content that a document of this type may have. Throws `usage` naming what is wrong. */
export function parseContent(type: DocumentType, name: Name, content: unknown): MenuContent | z.infer<typeof ParameterContent> {
  if (type === 'parameter' && SECRET.test(name)) {
    throw new AppError('usage', `"${name}" sounds like a secret, and parameters are none: boot scripts show them to everybody`, {
      hint: 'choose another name if it is not one',
    });
  }
  const parsed = CONTENT[type].safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.map(String).join('.') ?? '';
  throw new AppError(
    'usage',
    `${type} ${name}: ${where === '' ? 'the content' : `"${printable(where)}"`}: ${issue?.message ?? 'not valid'}`,
    {
      hint: 'docs/operations.md shows one of each type',
    },
  );
}

/** Puts values in the place of `{{name}}`. Throws `bad_data` for a parameter that there is not. */
export function fillIn(text: string, parameter: (name: string) => string | undefined): string {
  return text.replaceAll(/\{\{([a-z0-9._-]+)\}\}/g, (_match, name: string) => {
    const value = parameter(name);
    if (value !== undefined) return value;
    throw new AppError('bad_data', `there is no parameter "${printable(name)}"`, {
      hint: `waystation document set parameter ${printable(name)}`,
    });
  });
}
