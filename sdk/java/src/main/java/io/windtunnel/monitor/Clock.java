package io.windtunnel.monitor;

/** Nanoseconds since 1970: the clock of the device, which has milliseconds, made finer by the one that counts time. */
final class Clock {
    /** When the two differ by more, somebody set the clock, or the device slept. */
    private static final long MOST_DIFFERENCE = 20_000_000L;

    private long offset = wall() - System.nanoTime();

    private static long wall() {
        return System.currentTimeMillis() * 1_000_000L;
    }

    synchronized long now() {
        long counted = System.nanoTime();
        long now = counted + offset;
        long wall = wall();
        if (Math.abs(now - wall) > MOST_DIFFERENCE) {
            offset = wall - counted;
            now = wall;
        }
        return now;
    }
}
