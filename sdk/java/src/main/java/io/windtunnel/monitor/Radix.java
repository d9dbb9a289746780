package io.windtunnel.monitor;

import java.util.Arrays;

/** Sorts the sample of an array: a radix sort has no branches that random values mispredict. */
final class Radix {
    static final int BITS = 11;
    private static final int MASK = (1 << BITS) - 1;

    private Radix() {}

    /**
     * Sorts the finite values.
     *
     * @param values values in any order
     * @param count how many
     * @param keys receives the keys of the finite values, sorted
     * @param other scratch
     * @param counts scratch of 2^BITS
     * @return how many values are finite
     */
    static int sort(float[] values, int count, int[] keys, int[] other, int[] counts) {
        int m = 0;
        for (int i = 0; i < count; i++) {
            float value = values[i];
            int bits = Float.floatToRawIntBits(value);
            // Orders like the values: all bits of a negative number are turned, of others the sign.
            keys[m] = bits ^ (bits >> 31 | Integer.MIN_VALUE);
            m += value - value == 0 ? 1 : 0;
        }
        pass(keys, other, m, 0, counts);
        pass(other, keys, m, BITS, counts);
        pass(keys, other, m, 2 * BITS, counts);
        System.arraycopy(other, 0, keys, 0, m);
        return m;
    }

    /** The value of a key. */
    static float value(int key) {
        return Float.intBitsToFloat(key ^ (~key >> 31 | Integer.MIN_VALUE));
    }

    private static void pass(int[] from, int[] to, int m, int shift, int[] counts) {
        Arrays.fill(counts, 0);
        for (int i = 0; i < m; i++) {
            counts[from[i] >>> shift & MASK]++;
        }
        int place = 0;
        for (int i = 0; i < counts.length; i++) {
            int here = counts[i];
            counts[i] = place;
            place += here;
        }
        for (int i = 0; i < m; i++) {
            to[counts[from[i] >>> shift & MASK]++] = from[i];
        }
    }
}
