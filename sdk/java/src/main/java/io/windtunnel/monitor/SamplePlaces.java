package io.windtunnel.monitor;

/** Where the fixed sample of an array of {@code n} values is taken; kept for the sizes that were used last. */
final class SamplePlaces {
    /** 4 KB each. */
    private static final int KEPT = 32;

    private static final int[][] PLACES = new int[KEPT][];
    private static final int[] SIZES = new int[KEPT];
    private static int next;

    private SamplePlaces() {}

    /** Indices in ascending order; null: all values are the sample. */
    static int[] of(int n) {
        if (n <= Statistics.SAMPLE) {
            return null;
        }
        synchronized (PLACES) {
            for (int i = 0; i < KEPT; i++) {
                if (SIZES[i] == n) {
                    return PLACES[i];
                }
            }
            int[] made = make(n);
            SIZES[next] = n;
            PLACES[next] = made;
            next = (next + 1) % KEPT;
            return made;
        }
    }

    private static int[] make(int n) {
        int[] places = new int[Statistics.SAMPLE];
        for (int j = 0; j < places.length; j++) {
            int begin = (int) ((long) j * n / Statistics.SAMPLE);
            int end = (int) ((j + 1L) * n / Statistics.SAMPLE);
            places[j] = begin + SplitMix.at(j, end - begin);
        }
        return places;
    }
}
