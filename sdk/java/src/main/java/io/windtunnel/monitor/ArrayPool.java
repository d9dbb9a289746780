package io.windtunnel.monitor;

import java.lang.reflect.Array;
import java.util.ArrayDeque;
import java.util.Iterator;

/** Arrays for recorded values, used again, within the memory bound. Thread-safe. */
final class ArrayPool {
    /** Part of the bound that values may take; the rest is for frames without values, and for what is being written. */
    private static final double FOR_VALUES = 0.875;

    /** Smaller arrays are made anew: that is cheaper than to look for one. */
    private static final int LEAST_BYTES = 2048;
    /** Of an array beside its values, and of what refers to it. */
    private static final int OVERHEAD = 48;
    private static final int MOST_FREE = 64;

    private final long bound;
    private final ArrayDeque<Object> free = new ArrayDeque<Object>();
    private long freeBytes;
    private long usedBytes;

    ArrayPool(long bound) {
        this.bound = bound;
    }

    /** An array of at least this length; null if the bound is reached. */
    synchronized Object take(Element element, int length) {
        long wanted = (long) length * element.bytes + OVERHEAD;
        char carrier = Values.carrier(element);
        for (Iterator<Object> each = free.iterator(); wanted >= LEAST_BYTES && each.hasNext();) {
            Object array = each.next();
            int held = Array.getLength(array);
            if (held >= length && held <= length + length / 4 + 16 && carrierOf(array) == carrier) {
                each.remove();
                freeBytes -= bytes(array);
                usedBytes += bytes(array);
                return array;
            }
        }
        long limit = (long) (bound * FOR_VALUES);
        if (usedBytes + wanted > limit) {
            return null;
        }
        while (usedBytes + freeBytes + wanted > limit && !free.isEmpty()) {
            freeBytes -= bytes(free.removeLast());
        }
        Object made = Values.newArray(element, length);
        usedBytes += bytes(made);
        return made;
    }

    /** Gives an array of {@link #take} back. */
    synchronized void give(Object array) {
        long bytes = bytes(array);
        usedBytes -= bytes;
        if (bytes >= LEAST_BYTES && free.size() < MOST_FREE) {
            freeBytes += bytes;
            free.addFirst(array);
        }
    }

    /** Counts memory that is not an array of the pool; false, and nothing counted, if the bound is reached. */
    synchronized boolean reserve(long bytes) {
        if (usedBytes + bytes > bound) {
            return false;
        }
        usedBytes += bytes;
        return true;
    }

    /** Ends a {@link #reserve}. */
    synchronized void release(long bytes) {
        usedBytes -= bytes;
    }

    /** Bytes that recorded values take now. */
    synchronized long usedBytes() {
        return usedBytes;
    }

    long bound() {
        return bound;
    }

    private static char carrierOf(Object array) {
        return array instanceof float[] ? 'f'
                : array instanceof byte[] ? 'b'
                : array instanceof int[] ? 'i'
                : array instanceof short[] ? 's'
                : array instanceof long[] ? 'l' : 'd';
    }

    private static long bytes(Object array) {
        int width = array instanceof byte[] ? 1 : array instanceof short[] ? 2
                : array instanceof float[] || array instanceof int[] ? 4 : 8;
        return (long) Array.getLength(array) * width + OVERHEAD;
    }
}
