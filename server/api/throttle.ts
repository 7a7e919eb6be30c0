import { type RateLimitRequestHandler, rateLimit } from 'express-rate-limit';
import { AppError } from '../../core/errors.ts';
import { problem } from './errors.ts';

export type Throttle = RateLimitRequestHandler;

/**
 * Slows down whoever shows wrong proofs: after `limit` failures a minute from one address, further failures get 429.
 * Only failures are counted and only failures are refused, so nobody can lock out a valid token behind the same address.
 */
export function failureThrottle(limit = 30): Throttle {
  return rateLimit({
    windowMs: 60_000,
    limit,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // Anybody can send X-Forwarded-For; it is ignored, and that it came is worth no line on the console.
    validate: { xForwardedForHeader: false, forwardedHeader: false },
    handler: (_request, response) => {
      const error = new AppError('busy', 'too many failed attempts from this address', { hint: 'wait a minute' });
      response
        .status(429)
        .type('application/problem+json')
        .send(JSON.stringify(problem(error, 429)));
    },
  });
}
