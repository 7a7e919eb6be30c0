import { useEffect, useRef, useState } from 'react';
import type { TreeServer } from '../../../core/server-tree.ts';
import { usePoll } from '../api/poll.ts';
import { formatBytes } from '../format.ts';
import { Label } from '../kit/label.tsx';

type Image = {
  readonly reference: string;
  readonly state: string;
  readonly wanted?: boolean;
  readonly missingBytes?: number;
  readonly role?: string;
  readonly error?: string;
};

type Props = { readonly server: TreeServer; readonly onSignedOut: (words?: string) => void };

const EVERY_MS = 5000;

/** Wanted and held, image by image, as the server itself told. */
export function Images({ server, onSignedOut }: Props) {
  const { answer, failure, refresh } = usePoll<{ status: { images: readonly Image[] } | null }>(
    `/api/v1/servers/${encodeURIComponent(server.id)}`,
    EVERY_MS,
    onSignedOut,
  );
  // What stands here is not older than what the list tells of the server.
  const told = `${server.reportedAt} ${server.images?.held} ${server.images?.wanted}`;
  const seen = useRef(told);
  useEffect(() => {
    if (seen.current !== told) refresh();
    seen.current = told;
  }, [refresh, told]);
  const [isMissingOnly, setMissingOnly] = useState(false);
  const images = answer?.status?.images ?? [];
  const missing = images.filter((image) => isWanted(image) && image.state !== 'published');
  const shown = isMissingOnly ? missing : images;
  return (
    <section className="ws-images" aria-labelledby="images-title">
      <div className="ws-images__head">
        <h3 className="pf-v6-c-title pf-m-md" id="images-title">
          Images
        </h3>
        {missing.length > 0 && (
          <label className="ws-images__only">
            <input type="checkbox" checked={isMissingOnly} onChange={(event) => setMissingOnly(event.target.checked)} />
            {` only the ${missing.length} missing`}
          </label>
        )}
      </div>
      {shown.length === 0 ? (
        <p className="ws-empty">{failure?.message ?? emptyWords(server, answer)}</p>
      ) : (
        <table className="pf-v6-c-table pf-m-compact" aria-labelledby="images-title">
          <thead className="pf-v6-c-table__thead">
            <tr className="pf-v6-c-table__tr">
              <th className="pf-v6-c-table__th" scope="col">
                Image
              </th>
              <th className="pf-v6-c-table__th" scope="col">
                Held
              </th>
            </tr>
          </thead>
          <tbody className="pf-v6-c-table__tbody">
            {shown.map((image) => (
              <tr className="pf-v6-c-table__tr" key={image.reference}>
                <th className="pf-v6-c-table__td ws-images__name" scope="row">
                  {image.reference}
                  {image.role !== undefined && <span className="ws-row__role"> {image.role}</span>}
                </th>
                <td className="pf-v6-c-table__td ws-images__held">
                  <Held image={image} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Held({ image }: { readonly image: Image }) {
  const { state, missingBytes = 0, error } = image;
  if (state === 'published') return <Label color="green">held</Label>;
  if (!isWanted(image)) return <Label color="grey">{state === 'deleted' ? 'deleted' : 'not wanted'}</Label>;
  return (
    <>
      <Label color={error === undefined ? 'blue' : 'red'}>{state === 'arriving' ? 'arriving' : 'wanted'}</Label>
      {missingBytes > 0 && ` ${formatBytes(missingBytes)} missing`}
      {error !== undefined && <div>{error}</div>}
    </>
  );
}

function isWanted({ wanted, state }: Image): boolean {
  return wanted !== false && state !== 'deleted';
}

function emptyWords({ relation, name }: TreeServer, answer: { status: unknown } | undefined): string {
  if (answer === undefined) return 'Asking for them …';
  if (answer.status !== null) return 'It holds none and wants none.';
  return relation === 'parent' ? `What ${name} holds is shown in its own console.` : `${name} has not reported yet.`;
}
