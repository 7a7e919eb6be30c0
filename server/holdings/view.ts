import type { Image, ImageBody, ImageError } from '../../core/image.ts';
import { isoTime } from '../../core/iso-time.ts';
import { isInScope, type Scope } from '../../core/scope.ts';
import { type Choice, type ChoiceMode, opensAt, roleOf, type VersionRole } from '../../core/version-choice.ts';
import { missedBy } from './failure.ts';

/** One image at one site, as others script against it. */
export type HoldingView = {
  readonly image: string;
  readonly id: string;
  readonly kind: string;
  readonly group: string | null;
  readonly manifest: string;
  /** As of the image; `arriving`: a run is bringing it, or the last one failed to. */
  readonly state: Image['state'] | 'arriving';
  /** Its content is to be here: it is ours, in scope, or chosen. */
  readonly wanted: boolean;
  /** All of its content is here and was hashed here. */
  readonly held: boolean;
  readonly verifiedAt: string | null;
  /** 0 for what is held; of what is wanted the bytes that are not here (an upper bound while nothing of it is); else null. */
  readonly bytesMissing: number | null;
  readonly role: VersionRole | null;
  readonly choice: ChoiceMode | null;
  /** When a version that waits, or was set to, becomes visible or the default; null: no time is known. */
  readonly activatesAt: string | null;
  readonly error: ImageError | null;
};

/** What a site knows of its images; times are epoch ms. */
export type HoldingFacts = {
  readonly selfId: string;
  readonly images: readonly Image[];
  readonly choices: readonly (Choice & { readonly name: string })[];
  readonly scope: Scope;
  readonly ring: number | null;
  /** Of the newest run that has not published: new images, which of them it was to bring, what stopped it. */
  readonly arriving: readonly { readonly id: string; readonly body: ImageBody; readonly isLacking: boolean }[];
  readonly runError: ImageError | null;
  /** Bytes not here, by manifest, where somebody looked. */
  readonly missing: ReadonlyMap<string, number>;
};

/** Puts together what is said of each image, newest first; what is on its way comes before what is here. */
export function viewHoldings(facts: HoldingFacts): HoldingView[] {
  const isHere = new Set(facts.images.map(({ id }) => id as string));
  const arriving = facts.arriving.filter(({ id }) => !isHere.has(id));
  return [...arriving.map((one) => viewArriving(one, facts)), ...facts.images.map((image) => viewImage(image, facts))];
}

function viewArriving({ id, body, isLacking }: HoldingFacts['arriving'][number], facts: HoldingFacts): HoldingView {
  const wanted = isInScope(facts.scope, body) || facts.choices.some(({ imageId }) => imageId === id);
  return {
    ...namesOf(body, id),
    state: 'arriving',
    wanted,
    held: false,
    verifiedAt: null,
    bytesMissing: wanted ? (facts.missing.get(body.manifest) ?? body.usedBytes) : null,
    role: null,
    choice: null,
    activatesAt: null,
    error: facts.runError !== null && isLacking ? missedBy(facts.runError) : null,
  };
}

function viewImage(image: Image, facts: HoldingFacts): HoldingView {
  const choice = facts.choices.find(({ name }) => name === image.name);
  const isOwn = image.origin === facts.selfId;
  // A deleted image that is chosen is invisible and all here.
  const held = image.state === 'published' || image.state === 'deleted';
  const wanted = isOwn || choice?.imageId === image.id || isInScope(facts.scope, image);
  const versions = facts.images.filter(({ name, state }) => name === image.name && state === 'published');
  const waits = held && image.waiting ? opensAt(image, isOwn ? undefined : facts.ring) : image.siteActivateAt;
  const missing = wanted ? (facts.missing.get(image.manifest) ?? image.usedBytes) : null;
  return {
    ...namesOf(image, image.id),
    state: image.state,
    wanted,
    held,
    verifiedAt: isoTime(image.verifiedAt),
    bytesMissing: held ? 0 : missing,
    role: image.state === 'published' ? roleOf(image, versions, choice) : null,
    choice: choice?.imageId === image.id ? choice.mode : null,
    activatesAt: isoTime(waits),
    error: image.error,
  };
}

function namesOf(body: ImageBody, id: string) {
  return { image: `${body.name}@${body.version}`, id, kind: body.kind, group: body.group ?? null, manifest: body.manifest };
}
