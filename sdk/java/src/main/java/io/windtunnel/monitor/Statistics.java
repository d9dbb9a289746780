package io.windtunnel.monitor;

import java.util.Arrays;

/** The figures of one array, as docs/edge-log.md defines them. */
final class Statistics {
    /** In percent. */
    private static final int[] LEVELS = {1, 5, 10, 25, 50, 75, 90, 95, 99};

    static final int SAMPLE = 1024;
    static final int SUMS = 16;

    final long count;
    long nonFinite;
    float min;
    float max;
    float mean;
    float std;
    float[] quantiles = new float[0];
    final float[] projection;

    private Statistics(long count) {
        this.count = count;
        this.projection = new float[(int) Math.min(count, SUMS)];
    }

    /** Integers beyond 2^53 are rounded to the nearest double; figures beyond float32 become its largest number. */
    private static float stored(double figure) {
        if (Double.isNaN(figure)) {
            // Sums of huge numbers of both signs.
            return 0;
        }
        return (float) Math.max(-Float.MAX_VALUE, Math.min(Float.MAX_VALUE, figure));
    }

    /** As it is stored; NaN for what is not finite. */
    private static float sampled(double value) {
        return value - value == 0 ? stored(value) : Float.NaN;
    }

    /** Computes the figures; keeps its buffers for the next array, so one thread uses it at a time. */
    static final class Maker {
        private static final int BLOCK = 1024;
        private static final int WORD = 64;
        /** Row b has the signs that the four bits of b stand for. */
        private static final double[] SIGNS = new double[16 * 4];

        static {
            for (int i = 0; i < SIGNS.length; i++) {
                SIGNS[i] = (i / 4 >> i % 4 & 1) == 0 ? 1 : -1;
            }
        }

        private final double[] block = new double[BLOCK];
        private final double[] sums = new double[SUMS];
        private final double[] lanes = new double[SUMS];
        private final float[] sample = new float[SAMPLE];
        private final int[] keys = new int[SAMPLE];
        private final int[] sorted = new int[SAMPLE];
        private final int[] counts = new int[1 << Radix.BITS];

        private double origin;
        private double sum;
        private double squares;
        private double min;
        private double max;
        private long finite;

        /** The figures of all values. */
        Statistics of(Values values) {
            int n = values.count;
            int[] places = SamplePlaces.of(n);
            int sampled = 0;
            reset();
            for (int start = 0; start < n; start += BLOCK) {
                int length = Math.min(BLOCK, n - start);
                values.load(start, length, block);
                if (places == null) {
                    sampled = keep(length);
                } else {
                    while (sampled < SAMPLE && places[sampled] < start + length) {
                        sample[sampled] = sampled(block[places[sampled] - start]);
                        sampled++;
                    }
                }
                add(start, length);
            }
            return result(n, sampled);
        }

        private void reset() {
            Arrays.fill(sums, 0);
            origin = 0;
            sum = 0;
            squares = 0;
            min = Double.POSITIVE_INFINITY;
            max = Double.NEGATIVE_INFINITY;
            finite = 0;
        }

        private int keep(int length) {
            for (int i = 0; i < length; i++) {
                sample[i] = sampled(block[i]);
            }
            return length;
        }

        private void add(int start, int length) {
            if (finite == 0) {
                // Squares are summed about a value of the array, so that a large mean costs no digits.
                origin = firstFinite(length);
            }
            if (!moments(length)) {
                dropNonFinite(start, length);
            }
            int words = length / WORD;
            for (int word = 0; word < words; word++) {
                project(start / WORD + word, word * WORD);
            }
            projectRest(start, words * WORD, length);
        }

        private double firstFinite(int length) {
            for (int i = 0; i < length; i++) {
                if (block[i] - block[i] == 0) {
                    return block[i];
                }
            }
            return 0;
        }

        /** Adds the block's moments; false, and nothing added, if one of its values is not finite. */
        private boolean moments(int length) {
            double from = origin;
            double sumA = 0;
            double sumB = 0;
            double squareA = 0;
            double squareB = 0;
            double least = min;
            double most = max;
            int pairs = length & ~1;
            for (int i = 0; i < pairs; i += 2) {
                double a = block[i];
                double b = block[i + 1];
                least = a < least ? a : least;
                most = a > most ? a : most;
                least = b < least ? b : least;
                most = b > most ? b : most;
                a -= from;
                b -= from;
                sumA += a;
                sumB += b;
                squareA += a * a;
                squareB += b * b;
            }
            if (pairs < length) {
                double a = block[pairs];
                least = a < least ? a : least;
                most = a > most ? a : most;
                a -= from;
                sumA += a;
                squareA += a * a;
            }
            double total = sumA + sumB;
            if (total - total != 0) {
                return false;
            }
            sum += total;
            squares += squareA + squareB;
            min = least;
            max = most;
            finite += length;
            return true;
        }

        /** Adds the moments of the finite values, and sets the others to 0 for the projection. */
        private void dropNonFinite(int start, int length) {
            for (int i = 0; i < length; i++) {
                double value = block[i];
                if (value - value != 0) {
                    block[i] = 0;
                    continue;
                }
                min = Math.min(min, value);
                max = Math.max(max, value);
                sum += value - origin;
                squares += (value - origin) * (value - origin);
                finite++;
            }
        }

        /** Adds 64 values to the 16 sums: lane p of word b goes to sum (p + b + b/16) mod 16. */
        private void project(int word, int at) {
            long signs = SplitMix.at(word);
            int turn = word + word / 16;
            for (int quarter = 0; quarter < 16; quarter += 4) {
                double a = 0;
                double b = 0;
                double c = 0;
                double d = 0;
                for (int row = 0; row < WORD; row += 16) {
                    int i = at + row + quarter;
                    int s = ((int) (signs >>> row + quarter) & 15) * 4;
                    a += SIGNS[s] * block[i];
                    b += SIGNS[s + 1] * block[i + 1];
                    c += SIGNS[s + 2] * block[i + 2];
                    d += SIGNS[s + 3] * block[i + 3];
                }
                int lane = quarter + turn;
                sums[lane & 15] += a;
                sums[lane + 1 & 15] += b;
                sums[lane + 2 & 15] += c;
                sums[lane + 3 & 15] += d;
            }
        }

        private void projectRest(int start, int from, int length) {
            if (from == length) {
                return;
            }
            int word = (start + from) / WORD;
            int turn = word + word / 16;
            long signs = SplitMix.at(word);
            for (int i = from; i < length; i++) {
                double value = (signs >>> (start + i) % WORD & 1) == 0 ? block[i] : -block[i];
                sums[start + i + turn & 15] += value;
            }
        }

        private Statistics result(int n, int sampled) {
            Statistics made = new Statistics(n);
            made.nonFinite = n - finite;
            if (finite > 0) {
                double mean = sum / finite;
                made.min = stored(min);
                made.max = stored(max);
                made.mean = stored(origin + mean);
                double variance = squares / finite - mean * mean;
                // The squares of numbers beyond 1e150 are not finite; the deviation is beyond float32 then.
                made.std = Double.isNaN(variance) ? Float.MAX_VALUE : stored(Math.sqrt(Math.max(0, variance)));
                for (int i = 0; i < made.projection.length; i++) {
                    made.projection[i] = stored(sums[i]);
                }
                made.quantiles = quantiles(sampled);
            }
            return made;
        }

        private float[] quantiles(int sampled) {
            int m = Radix.sort(sample, sampled, keys, sorted, counts);
            float[] found = new float[m == 0 ? 0 : LEVELS.length];
            for (int i = 0; i < found.length; i++) {
                found[i] = Radix.value(keys[(LEVELS[i] * (m - 1) + 50) / 100]);
            }
            return found;
        }
    }
}
