/**
 * Who encodes: with the same identity, the same request and the same content give the same octets at every server.
 * Whatever changes octets changes this: a level, zstd's parameters, how frames are filled, and (`delta`) how base chunks are chosen.
 */
export type Encoder = { readonly format: number; readonly zstd: string; readonly level: number; readonly delta?: number };

/** For receivers that read no delta frames, and for content in packs. */
export const PLAIN_ENCODER = { format: 1, zstd: process.versions['zstd'] ?? 'none', level: 3 } as const satisfies Encoder;
/** For everybody else. `delta` counts the ways in which we chose base chunks and parameters. */
export const DELTA_ENCODER = { ...PLAIN_ENCODER, delta: 1 } as const satisfies Encoder;
/** Of all frames of an image of which the receiver has a base: they are few, and made once for all receivers. */
export const DELTA_LEVEL = 9;
