/** The wake topic of everything that decides when runs start and stop: schedules, windows, pauses, caps, and the end of a run. */
export const SCHEDULES = 'schedules';
