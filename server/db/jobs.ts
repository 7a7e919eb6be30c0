import type { Knex } from 'knex';
import { type Id, newId } from '../../core/ids.ts';
import type { Arch, BootType } from '../../core/image.ts';

/** What a deploy task needs to know of its image; resolved when the order is made, so that nothing later changes it. */
export type DeployParams = {
  readonly imageName: string;
  readonly arch: Arch;
  readonly sizeBytes: number;
  readonly sectorSize: number;
  readonly bootType: BootType;
  /** Kernel name of the disk to write, or null: the agent takes the smallest fixed disk that fits. */
  readonly disk: string | null;
};

/** A built-in job of one deploy task, made for one order. Returns the job's id. */
export async function insertDeployJob(db: Knex, job: { origin: Id; name: string; params: DeployParams; now: number }): Promise<Id> {
  const id = newId(job.now);
  await db('jobs').insert({ id, name: job.name, builtin: true, created_at: job.now, origin: job.origin, revision: 1 });
  await db('tasks').insert({
    id: newId(job.now),
    job_id: id,
    position: 1,
    kind: 'deploy',
    environment: 'engine',
    params: JSON.stringify(job.params),
  });
  return id;
}

/** The parameters of a job's deploy task; undefined when the job has none. */
export async function getDeployParams(db: Knex, jobId: Id): Promise<DeployParams | undefined> {
  const row = await db('tasks')
    .where({ job_id: jobId, kind: 'deploy' })
    .orderBy('position')
    .first<{ params: string } | undefined>('params');
  return row === undefined ? undefined : (JSON.parse(row.params) as DeployParams);
}
