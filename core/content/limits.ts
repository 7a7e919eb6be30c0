/** The grid of disk images: file systems align files to 4 KiB, so nothing is cut anywhere else. */
export const BLOCK_BYTES = 4096;
export const MIN_CHUNK_BYTES = 16 * 1024;
export const MAX_CHUNK_BYTES = 256 * 1024;

/** Frames are closed once they hold this much, and refused when they claim more than the maximum. */
export const FRAME_TARGET_BYTES = 1024 * 1024;
export const MAX_FRAME_RAW_BYTES = 2 * 1024 * 1024;
export const MAX_FRAME_CHUNKS = 1024;
/** Memory that a frame may ask of who decodes it: 2^24 octets, enough for a dictionary and the frame behind it. */
export const MAX_WINDOW_LOG = 24;
/** Base chunks of a delta frame, and the octets of all of them together. */
export const MAX_FRAME_BASES = 1024;
export const MAX_BASE_BYTES = 4 * 1024 * 1024;

/** Entries of one page of a manifest, and levels of the tree of pages. */
export const MAX_PAGE_ENTRIES = 4096;
export const MAX_TREE_DEPTH = 8;

/** No disk we take is larger: 64 TiB. Keeps every sum far below 2^53. */
export const MAX_DISK_BYTES = 2 ** 46;
/** Files of a tree image. */
export const MAX_TREE_FILES = 100_000;
export const MAX_PATH_BYTES = 4096;
/** One text of a tree image's `meta`: an engine's list of packages is some 4 KiB. */
export const MAX_META_CHARACTERS = 64 * 1024;

/** A file of an archive is refused beyond the maximum; ours end earlier: one is unpacked while the next one arrives. */
export const PART_BYTES = 64 * 1024 * 1024;
export const MAX_PART_BYTES = 256 * 1024 * 1024;
/** A pack before the next one is begun. */
export const MAX_PACK_BYTES = 256 * 1024 * 1024;
