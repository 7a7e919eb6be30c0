import { useEffect, useState } from 'react';
import type { TreeServer } from '../../../core/server-tree.ts';
import { ask, asRefusal, type Refusal } from '../api/ask.ts';
import { type Progress as Done, doLongWork } from '../api/follow.ts';
import { countOf, formatBytes, formatDuration } from '../format.ts';
import { Alert } from '../kit/alert.tsx';
import { Dialog } from '../kit/dialog.tsx';
import { Progress } from '../kit/progress.tsx';
import { useGone } from '../kit/use-gone.ts';

type Made = {
  readonly download: string;
  readonly fileName: string;
  readonly sizeBytes: number;
  readonly images: readonly string[];
  readonly expiresAt: string;
};
type Image = { readonly name: string; readonly version: string; readonly state?: string };
type Receiver = 'server' | 'toc' | 'new';

type Props = { readonly server: TreeServer; readonly onClose: () => void };

/** One file with exactly what the receiver lacks: for a stick in the post, or a link of its own. */
export function MakeArchive({ server, onClose }: Props) {
  const isSelf = server.relation === 'self';
  const [receiver, setReceiver] = useState<Receiver>(isSelf ? 'toc' : 'server');
  const [toc, setToc] = useState<unknown>();
  const images = useImages();
  const [picked, setPicked] = useState<ReadonlySet<string>>();
  const [progress, setProgress] = useState<Done>();
  const [isBusy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>();
  const [made, setMade] = useState<Made>();
  const gone = useGone();

  const make = async () => {
    setBusy(true);
    setRefusal(undefined);
    const has = receiver === 'server' ? { server: server.id } : receiver === 'toc' ? { toc } : {};
    try {
      const wish = { want: [...(picked ?? [])], ...has };
      setMade(await doLongWork<Made>('/api/v1/archives/downloads', wish, { onProgress: setProgress, signal: gone.current.signal }));
    } catch (error) {
      if (!gone.current.signal.aborted) setRefusal(asRefusal(error));
    } finally {
      setBusy(false);
      setProgress(undefined);
    }
  };
  const isReady = (receiver !== 'toc' || toc !== undefined) && picked?.size !== 0;
  const title = isSelf ? 'Make an archive' : `Archive for ${server.name}`;
  if (made !== undefined) return <MadeArchive title={title} made={made} onClose={onClose} />;
  return (
    <Dialog title={title} submit={{ words: 'Make the archive', isBusy, isReady, onSubmit: make }} onClose={onClose}>
      <fieldset className="ws-choices">
        <legend>What does the receiver hold?</legend>
        {!isSelf && (
          <Choice name="receiver" label={`Ask ${server.name}`} isChosen={receiver === 'server'} onChoose={() => setReceiver('server')} />
        )}
        <Choice
          name="receiver"
          label="It is in a table of contents, a file"
          isChosen={receiver === 'toc'}
          onChoose={() => setReceiver('toc')}
        />
        {receiver === 'toc' && <TocFile onToc={setToc} onRefusal={setRefusal} />}
        <Choice name="receiver" label="Nothing: it is new" isChosen={receiver === 'new'} onChoose={() => setReceiver('new')} />
      </fieldset>
      <fieldset className="ws-choices">
        <legend>Which images shall it get?</legend>
        <Choice name="images" label="All that this server holds" isChosen={picked === undefined} onChoose={() => setPicked(undefined)} />
        <Choice name="images" label="Only these" isChosen={picked !== undefined} onChoose={() => setPicked(new Set())} />
        {picked !== undefined && <Picker images={images} picked={picked} onPick={setPicked} />}
      </fieldset>
      <div aria-live="polite" className="ws-notes">
        {isBusy && <Progress label={title} percent={progress?.percent ?? 0} words={progressWords(progress)} />}
        {refusal !== undefined && (
          <Alert kind="danger" title={refusal.message}>
            {refusal.hint}
          </Alert>
        )}
      </div>
    </Dialog>
  );
}

function progressWords(progress: Done | undefined): string {
  if (progress === undefined) return 'is being built';
  const { percent, etaSeconds } = progress;
  return `${Math.floor(percent)} %${etaSeconds === null ? '' : `, ${formatDuration(etaSeconds * 1000)} to go`}`;
}

function MadeArchive({ title, made, onClose }: { readonly title: string; readonly made: Made; readonly onClose: () => void }) {
  return (
    <Dialog title={title} onClose={onClose}>
      <p>
        {`${made.fileName}: ${formatBytes(made.sizeBytes)} for ${countOf(made.images.length, 'image')}. It waits here for an hour; once fetched it is good until ${new Date(made.expiresAt).toLocaleDateString()}.`}
      </p>
      <p>
        <a
          className="pf-v6-c-button pf-m-primary"
          href={`/api/v1/archives/downloads/${encodeURIComponent(made.download)}`}
          download={made.fileName}
        >
          Download
        </a>
      </p>
      <p className="ws-hint">{`At the receiver: “Load an archive” in its console, or “waystation archive load ${made.fileName}”.`}</p>
    </Dialog>
  );
}

type ChoiceProps = { readonly name: string; readonly label: string; readonly isChosen: boolean; readonly onChoose: () => void };

function Choice({ name, label, isChosen, onChoose }: ChoiceProps) {
  return (
    <label className="ws-choice">
      <input type="radio" name={name} checked={isChosen} onChange={onChoose} />
      <span>{label}</span>
    </label>
  );
}

/** A table of contents has at most some hundred kilobytes. */
const TOC_BYTES = 1_000_000;

function TocFile({
  onToc,
  onRefusal,
}: {
  readonly onToc: (toc: unknown) => void;
  readonly onRefusal: (refusal: Refusal | undefined) => void;
}) {
  const read = async (file: File | undefined) => {
    onToc(undefined);
    onRefusal(undefined);
    if (file === undefined) return;
    try {
      if (file.size > TOC_BYTES) throw new Error(`${file.name} is too large for a table of contents`);
      onToc(JSON.parse(await file.text()));
    } catch (error) {
      onRefusal(asRefusal(error instanceof SyntaxError ? new Error(`${file.name} is no table of contents`) : error));
    }
  };
  return (
    <div className="ws-field ws-choice__more">
      <label htmlFor="toc">Table of contents</label>
      <input id="toc" type="file" onChange={(event) => void read(event.target.files?.[0])} />
      <p className="ws-hint">“waystation archive toc --out FILE” at the receiver writes it, or its console under “Load an archive”.</p>
    </div>
  );
}

type PickerProps = {
  readonly images: readonly string[] | undefined;
  readonly picked: ReadonlySet<string>;
  readonly onPick: (picked: ReadonlySet<string>) => void;
};

function Picker({ images, picked, onPick }: PickerProps) {
  const toggle = (image: string) => {
    const after = new Set(picked);
    if (!after.delete(image)) after.add(image);
    onPick(after);
  };
  if (images === undefined) return <p className="ws-hint">Asking for them …</p>;
  if (images.length === 0) return <p className="ws-hint">This server holds none.</p>;
  return (
    <div className="ws-picker ws-choice__more">
      {images.map((image) => (
        <label className="ws-choice" key={image}>
          <input type="checkbox" checked={picked.has(image)} onChange={() => toggle(image)} />
          <span>{image}</span>
        </label>
      ))}
    </div>
  );
}

/** What this server can give, newest first. */
function useImages(): readonly string[] | undefined {
  const [images, setImages] = useState<readonly string[]>();
  useEffect(() => {
    const gone = new AbortController();
    ask<{ items: readonly Image[] }>('/api/v1/images', { signal: gone.signal }).then(
      ({ items }) =>
        setImages(
          items.filter(({ state }) => state === undefined || state === 'published').map(({ name, version }) => `${name}@${version}`),
        ),
      () => setImages([]),
    );
    return () => gone.abort();
  }, []);
  return images;
}
