import { useState } from 'react';
import type { TreeServer } from '../../../core/server-tree.ts';
import { asRefusal, type Refusal } from '../api/ask.ts';
import { type Progress as Done, doLongWork } from '../api/follow.ts';
import { uploadFile } from '../api/upload.ts';
import { countOf, formatBytes, formatDuration } from '../format.ts';
import { Alert } from '../kit/alert.tsx';
import { Dialog } from '../kit/dialog.tsx';
import { Progress } from '../kit/progress.tsx';
import { useGone } from '../kit/use-gone.ts';

type Loaded = {
  readonly taken: number;
  readonly removed: number;
  readonly raised: number;
  readonly held: boolean;
  readonly incomplete: readonly string[];
  readonly conflicts: readonly string[];
};
type Stage = { readonly words: string; readonly progress: Done | undefined };

type Props = { readonly server: TreeServer; readonly onClose: () => void };

/** An archive file from this computer is sent to the server and taken as a run is: verified whole before anything counts. */
export function LoadArchive({ server, onClose }: Props) {
  const [file, setFile] = useState<File>();
  const [stage, setStage] = useState<Stage>();
  const [refusal, setRefusal] = useState<Refusal>();
  const [loaded, setLoaded] = useState<Loaded>();
  const gone = useGone();

  const load = async () => {
    if (file === undefined) return;
    setRefusal(undefined);
    const { signal } = gone.current;
    const during = (words: string) => ({ signal, onProgress: (progress: Done) => setStage({ words, progress }) });
    try {
      setStage({ words: 'is being sent', progress: undefined });
      const id = await uploadFile(file, during('is being sent'));
      setStage({ words: 'is being verified and taken', progress: undefined });
      setLoaded(await doLongWork<Loaded>(`/api/v1/archives/uploads/${id}/load`, {}, during('is being verified and taken')));
    } catch (error) {
      if (!signal.aborted) setRefusal(asRefusal(error));
    } finally {
      setStage(undefined);
    }
  };
  const title = `Load an archive into ${server.name}`;
  if (loaded !== undefined) return <Outcome title={title} loaded={loaded} onClose={onClose} />;
  return (
    <Dialog
      title={title}
      submit={{ words: 'Load', isBusy: stage !== undefined, isReady: file !== undefined, onSubmit: load }}
      onClose={onClose}
    >
      <p>
        The file was made for this server at another one: by its console, or by “waystation archive create”. It is made with{' '}
        <a href="/api/v1/archives/toc" download={`${server.name}.toc`}>
          the table of contents of this server
        </a>
        , so that it brings only what is missing here.
      </p>
      <div className="ws-field">
        <label htmlFor="archive">Archive file</label>
        <input id="archive" type="file" accept=".rad" onChange={(event) => setFile(event.target.files?.[0])} />
      </div>
      <div aria-live="polite" className="ws-notes">
        {stage !== undefined && <Progress label={title} percent={stage.progress?.percent ?? 0} words={stageWords(stage)} />}
        {refusal !== undefined && (
          <Alert kind="danger" title={refusal.message}>
            {refusal.hint}
          </Alert>
        )}
      </div>
    </Dialog>
  );
}

function stageWords({ words, progress }: Stage): string {
  if (progress === undefined) return words;
  const { percent, doneBytes, totalBytes, etaSeconds } = progress;
  const eta = etaSeconds === null ? '' : `, ${formatDuration(etaSeconds * 1000)} to go`;
  return `${words}: ${Math.floor(percent)} %, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}${eta}`;
}

function Outcome({ title, loaded, onClose }: { readonly title: string; readonly loaded: Loaded; readonly onClose: () => void }) {
  const { taken, removed, raised, incomplete, conflicts } = loaded;
  const isWhole = incomplete.length === 0 && conflicts.length === 0;
  const news = [
    countOf(taken, 'object taken', 'objects taken'),
    raised > 0 && `${countOf(raised, 'image')} completed`,
    removed > 0 && `${removed} removed`,
  ].filter(Boolean);
  return (
    <Dialog title={title} onClose={onClose}>
      <Alert kind={isWhole ? 'success' : 'warning'} title={isWhole ? 'The archive is loaded.' : 'The archive is loaded as far as it goes.'}>
        {`${news.join(', ')}.`}
        {incomplete.length > 0 &&
          ` ${countOf(incomplete.length, 'image')} could not be made whole: the file was made for a server that holds more.`}
        {conflicts.length > 0 && ` Not taken, because the name is taken here: ${conflicts.join(', ')}.`}
      </Alert>
    </Dialog>
  );
}
