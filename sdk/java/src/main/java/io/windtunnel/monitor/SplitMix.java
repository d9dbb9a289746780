package io.windtunnel.monitor;

/** The fixed random numbers of docs/edge-log.md: splitmix64 at a position of its sequence. */
final class SplitMix {
    private static final long SEED = 0x57494E4454554E4EL;

    private SplitMix() {}

    static long at(long position) {
        long z = SEED + (position + 1) * 0x9E3779B97F4A7C15L;
        z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
        z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
        return z ^ z >>> 31;
    }

    /** The number at a position, as an unsigned one, modulo {@code divisor}. */
    static int at(long position, int divisor) {
        long number = at(position);
        return (int) (((number >>> 1) % divisor * 2 + (number & 1)) % divisor);
    }
}
