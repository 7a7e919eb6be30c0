import type { FileMap } from './file-map.ts';
import type { FindCounterpart } from './votes.ts';

/**
 * Where the base keeps what the owner of an octet of the new image has there. `bases` are the file maps of the base's images,
 * undefined for one without; the first that has a file like it is taken.
 */
export function findCounterparts(wanted: FileMap, bases: readonly (FileMap | undefined)[]): FindCounterpart {
  const known = new Map<number, { readonly image: number; readonly file: number } | undefined>();

  function counterpartOf(file: number) {
    if (known.has(file)) return known.get(file);
    const likeness = wanted.likenessOf(file);
    const found = bases.map((map, image) => ({ image, file: map?.find(likeness) ?? -1 })).find((one) => one.file >= 0);
    known.set(file, found);
    return found;
  }

  return (offset) => {
    const owner = wanted.ownerOf(offset);
    const like = owner && counterpartOf(owner.file);
    if (owner === undefined || like === undefined) return undefined;
    return {
      at(distance) {
        const place = bases[like.image]?.placeOf(like.file, owner.fileOffset + distance) ?? -1;
        return place < 0 ? undefined : { image: like.image, offset: place };
      },
    };
  };
}
