package io.windtunnel.monitor;

import java.lang.reflect.Array;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.nio.charset.Charset;
import java.util.Arrays;

/**
 * The values that an app gives, in C order: a primitive array, or a buffer that is read in pieces. Nothing is copied to
 * make it, except from nested arrays and single values.
 */
final class Values {
    private static final Charset UTF_8 = Charset.forName("UTF-8");
    private static final int PIECE = 1024;

    final Element element;
    final int count;
    final int[] shape;
    /** A primitive array or a buffer; its values begin at {@code offset}. */
    private final Object held;
    private final int offset;
    /** What pieces of a buffer are read into; made when one is. */
    private Object piece;

    private Values(Element element, int count, int[] shape, Object held, int offset) {
        this.element = element;
        this.count = count;
        this.shape = shape;
        this.held = held;
        this.offset = offset;
    }

    /** The first {@code count} values of a primitive array. */
    static Values ofArray(Element element, int count, int[] shape, Object array) {
        return new Values(element, count, shape, array, 0);
    }

    /**
     * What the app gave.
     *
     * @param given array, nested array, buffer, text, number or boolean
     * @param wanted element type that the app says; null: what the Java type says
     * @param sizes shape that the app says; none: what the value says
     * @param bytes element type of bytes that nothing says more about
     * @return null if it is nothing of these
     */
    static Values of(Object given, Element wanted, int[] sizes, Element bytes) {
        if (given instanceof float[]) {
            return flat(given, Element.FLOAT32, wanted, sizes);
        }
        if (given instanceof byte[]) {
            return flat(given, bytes, wanted, sizes);
        }
        if (given instanceof Buffer) {
            return ofBuffer((Buffer) given, wanted, sizes, bytes);
        }
        if (given instanceof CharSequence) {
            byte[] text = given.toString().getBytes(UTF_8);
            return ofArray(Element.TEXT, text.length, new int[0], text);
        }
        if (given != null && given.getClass().isArray()) {
            return ofOtherArray(given, wanted, sizes, bytes);
        }
        return ofOne(given);
    }

    private static Values flat(Object array, Element own, Element wanted, int[] sizes) {
        int count = Array.getLength(array);
        boolean fits = wanted != null && wanted != Element.TEXT && carrier(wanted) == carrier(own);
        return ofArray(fits ? wanted : own, count, sizes.length == 0 ? new int[] {count} : sizes, array);
    }

    private static Values ofOtherArray(Object array, Element wanted, int[] sizes, Element bytes) {
        if (array instanceof boolean[]) {
            boolean[] flags = (boolean[]) array;
            byte[] numbers = new byte[flags.length];
            for (int i = 0; i < flags.length; i++) {
                numbers[i] = (byte) (flags[i] ? 1 : 0);
            }
            return flat(numbers, Element.BOOL, Element.BOOL, sizes);
        }
        Element own = elementOf(array.getClass().getComponentType(), bytes);
        return own != null ? flat(array, own, wanted, sizes) : ofNested(array, wanted, sizes, bytes);
    }

    /** Whether it is an array of arrays of primitive values. */
    static boolean isNested(Object array) {
        Class<?> type = array.getClass();
        while (type.isArray()) {
            type = type.getComponentType();
        }
        return type.isPrimitive();
    }

    /** {@code float[1][10]} and the like, as LiteRT's interpreter fills them; null if it is ragged. */
    private static Values ofNested(Object array, Element wanted, int[] sizes, Element bytes) {
        Class<?> type = array.getClass();
        int[] found = new int[0];
        Object part = array;
        while (type.isArray()) {
            int length = part == null ? 0 : Array.getLength(part);
            found = Arrays.copyOf(found, found.length + 1);
            found[found.length - 1] = length;
            type = type.getComponentType();
            part = type.isArray() && length > 0 ? Array.get(part, 0) : null;
        }
        boolean flags = type == boolean.class;
        Element own = flags ? Element.BOOL : elementOf(type, bytes);
        long total = product(found);
        if (own == null || total > Integer.MAX_VALUE) {
            return null;
        }
        Object all = Array.newInstance(type, (int) total);
        if (fill(array, found, 0, all, 0) < 0) {
            return null;
        }
        if (flags) {
            return ofOtherArray(all, wanted, sizes.length == 0 ? found : sizes, bytes);
        }
        return flat(all, own, wanted, sizes.length == 0 ? found : sizes);
    }

    private static int fill(Object part, int[] sizes, int depth, Object all, int at) {
        if (part == null || Array.getLength(part) != sizes[depth]) {
            return -1;
        }
        if (depth == sizes.length - 1) {
            System.arraycopy(part, 0, all, at, sizes[depth]);
            return at + sizes[depth];
        }
        int place = at;
        for (int i = 0; i < sizes[depth] && place >= 0; i++) {
            place = fill(Array.get(part, i), sizes, depth + 1, all, place);
        }
        return place;
    }

    private static Values ofOne(Object given) {
        if (given instanceof Float) {
            return ofArray(Element.FLOAT32, 1, new int[0], new float[] {(Float) given});
        }
        if (given instanceof Double) {
            return ofArray(Element.FLOAT64, 1, new int[0], new double[] {(Double) given});
        }
        if (given instanceof Number) {
            return ofArray(Element.INT64, 1, new int[0], new long[] {((Number) given).longValue()});
        }
        if (given instanceof Boolean) {
            return ofArray(Element.BOOL, 1, new int[0], new byte[] {(byte) ((Boolean) given ? 1 : 0)});
        }
        return null;
    }

    private static Values ofBuffer(Buffer buffer, Element wanted, int[] sizes, Element bytes) {
        long sized = sizes.length == 0 ? -1 : product(sizes);
        if (buffer instanceof ByteBuffer) {
            return ofBytes((ByteBuffer) buffer, wanted, sizes, sized, bytes);
        }
        Element own = buffer instanceof FloatBuffer ? Element.FLOAT32
                : buffer instanceof IntBuffer ? Element.INT32
                : buffer instanceof ShortBuffer ? Element.INT16
                : buffer instanceof LongBuffer ? Element.INT64
                : buffer instanceof DoubleBuffer ? Element.FLOAT64 : null;
        if (own == null || buffer instanceof CharBuffer) {
            return null;
        }
        Element element = wanted != null && carrier(wanted) == carrier(own) ? wanted : own;
        int begin = begin(buffer, sized);
        int count = buffer.limit() - begin;
        return new Values(element, (int) (sized >= 0 ? Math.min(sized, count) : count),
                sizes.length == 0 ? new int[] {count} : sizes, view(buffer), begin);
    }

    /** A byte buffer: how many bytes the shape leaves for one value says whether it is float32 or a byte. */
    private static Values ofBytes(ByteBuffer buffer, Element wanted, int[] sizes, long sized, Element bytes) {
        Element element = wanted != null && wanted != Element.TEXT ? wanted : bytes;
        if (wanted == null && sized > 0 && (4 * sized == buffer.remaining() || 4 * sized == buffer.limit())) {
            element = Element.FLOAT32;
        }
        int begin = begin(buffer, sized < 0 ? -1 : sized * element.bytes);
        ByteBuffer part = buffer.duplicate();
        part.position(begin);
        part = part.slice().order(buffer.order());
        int held = part.limit() / element.bytes;
        int count = (int) (sized >= 0 ? Math.min(sized, held) : held);
        return new Values(element, count, sizes.length == 0 ? new int[] {count} : sizes, typed(part, element), 0);
    }

    /**
     * Where values begin. Apps fill an interpreter's buffer and may not rewind it; the interpreter reads from its start.
     */
    private static int begin(Buffer buffer, long wanted) {
        boolean whole = wanted < 0 ? !buffer.hasRemaining() : buffer.remaining() < wanted;
        return whole ? 0 : buffer.position();
    }

    private static Buffer view(Buffer buffer) {
        return buffer instanceof FloatBuffer ? ((FloatBuffer) buffer).duplicate()
                : buffer instanceof IntBuffer ? ((IntBuffer) buffer).duplicate()
                : buffer instanceof ShortBuffer ? ((ShortBuffer) buffer).duplicate()
                : buffer instanceof LongBuffer ? ((LongBuffer) buffer).duplicate()
                : ((DoubleBuffer) buffer).duplicate();
    }

    private static Buffer typed(ByteBuffer part, Element element) {
        switch (carrier(element)) {
            case 'f':
                return part.asFloatBuffer();
            case 'd':
                return part.asDoubleBuffer();
            case 's':
                return part.asShortBuffer();
            case 'i':
                return part.asIntBuffer();
            case 'l':
                return part.asLongBuffer();
            default:
                return part;
        }
    }

    static long product(int[] sizes) {
        long product = 1;
        for (int size : sizes) {
            product *= Math.max(0, size);
        }
        return product;
    }

    private static Element elementOf(Class<?> type, Element bytes) {
        return type == float.class ? Element.FLOAT32
                : type == byte.class ? bytes
                : type == int.class ? Element.INT32
                : type == short.class ? Element.INT16
                : type == long.class ? Element.INT64
                : type == double.class ? Element.FLOAT64 : null;
    }

    /** Which primitive type carries an element: b, s, i, l, f or d. */
    static char carrier(Element element) {
        switch (element) {
            case FLOAT32:
                return 'f';
            case FLOAT64:
                return 'd';
            case FLOAT16:
            case INT16:
            case UINT16:
                return 's';
            case INT32:
                return 'i';
            case INT64:
                return 'l';
            default:
                return 'b';
        }
    }

    /** A primitive array for values of this element type. */
    static Object newArray(Element element, int length) {
        switch (carrier(element)) {
            case 'f':
                return new float[length];
            case 'd':
                return new double[length];
            case 's':
                return new short[length];
            case 'i':
                return new int[length];
            case 'l':
                return new long[length];
            default:
                return new byte[length];
        }
    }

    /** Copies values to the beginning of an array of {@link #newArray}. */
    void copy(int start, int length, Object to) {
        int from = offset + start;
        if (!(held instanceof Buffer)) {
            System.arraycopy(held, from, to, 0, length);
            return;
        }
        ((Buffer) held).position(from);
        switch (carrier(element)) {
            case 'f':
                ((FloatBuffer) held).get((float[]) to, 0, length);
                break;
            case 'd':
                ((DoubleBuffer) held).get((double[]) to, 0, length);
                break;
            case 's':
                ((ShortBuffer) held).get((short[]) to, 0, length);
                break;
            case 'i':
                ((IntBuffer) held).get((int[]) to, 0, length);
                break;
            case 'l':
                ((LongBuffer) held).get((long[]) to, 0, length);
                break;
            default:
                ((ByteBuffer) held).get((byte[]) to, 0, length);
        }
    }

    /** Reads values as doubles; at most 1024 at a time. */
    void load(int start, int length, double[] to) {
        Object from = held;
        int at = offset + start;
        if (held instanceof Buffer) {
            if (piece == null) {
                piece = newArray(element, PIECE);
            }
            copy(start, length, piece);
            from = piece;
            at = 0;
        }
        switch (carrier(element)) {
            case 'f':
                fromFloats((float[]) from, at, length, to);
                break;
            case 'd':
                System.arraycopy(from, at, to, 0, length);
                break;
            case 's':
                fromShorts((short[]) from, at, length, to);
                break;
            case 'i':
                fromInts((int[]) from, at, length, to);
                break;
            case 'l':
                fromLongs((long[]) from, at, length, to);
                break;
            default:
                fromBytes((byte[]) from, at, length, to);
        }
    }

    private static void fromFloats(float[] from, int at, int length, double[] to) {
        for (int i = 0; i < length; i++) {
            to[i] = from[at + i];
        }
    }

    private static void fromInts(int[] from, int at, int length, double[] to) {
        for (int i = 0; i < length; i++) {
            to[i] = from[at + i];
        }
    }

    private static void fromLongs(long[] from, int at, int length, double[] to) {
        for (int i = 0; i < length; i++) {
            to[i] = from[at + i];
        }
    }

    private void fromBytes(byte[] from, int at, int length, double[] to) {
        int mask = element == Element.INT8 ? -1 : 0xFF;
        for (int i = 0; i < length; i++) {
            to[i] = from[at + i] & mask;
        }
    }

    private void fromShorts(short[] from, int at, int length, double[] to) {
        if (element == Element.FLOAT16) {
            for (int i = 0; i < length; i++) {
                to[i] = half(from[at + i]);
            }
            return;
        }
        int mask = element == Element.INT16 ? -1 : 0xFFFF;
        for (int i = 0; i < length; i++) {
            to[i] = from[at + i] & mask;
        }
    }

    /** The value of a 16-bit float. */
    static float half(short bits) {
        int sign = (bits & 0x8000) << 16;
        int exponent = bits >> 10 & 31;
        int fraction = bits & 0x3FF;
        if (exponent == 31) {
            return Float.intBitsToFloat(sign | 0x7F800000 | fraction << 13);
        }
        if (exponent == 0) {
            float value = fraction * 0x1p-24f;
            return sign == 0 ? value : -value;
        }
        return Float.intBitsToFloat(sign | exponent + 112 << 23 | fraction << 13);
    }
}
