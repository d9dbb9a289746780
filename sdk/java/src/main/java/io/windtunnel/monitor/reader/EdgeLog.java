package io.windtunnel.monitor.reader;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What an edge log has, as plain values. Numbers of roles, elements, levels and kinds are those of edge.proto. */
public final class EdgeLog {
    /** A recorded frame. */
    public static final class Frame {
        public long number;
        /** Nanoseconds since 1970. */
        public long time;
        public int level;
        public final List<Tensor> tensors = new ArrayList<Tensor>();
        public final List<Timing> timings = new ArrayList<Timing>();
        public long memoryBytes;
        public final Map<String, String> values = new LinkedHashMap<String, String>();
        /** Null: it is not known. */
        public Long label;
        public long framesLost;
        public final List<String> leftOut = new ArrayList<String>();
        public double sampleRate;
    }

    /** An array or a text of a frame. */
    public static final class Tensor {
        private static final Charset UTF_8 = Charset.forName("UTF-8");

        public int role;
        public String name = "";
        public int element;
        public int[] shape = new int[0];
        /** Little-endian, in C order; empty: only statistics are recorded, or it was left out. */
        public byte[] data = new byte[0];
        /** Null: they were not computed. */
        public Figures statistics;
        public double scale;
        public int zeroPoint;
        public boolean redacted;
        /** -1: it is not known. */
        public int opIndex = -1;

        /** The values as doubles; of a text its bytes. */
        public double[] values() {
            ByteBuffer bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
            double[] values = new double[data.length / width()];
            for (int i = 0; i < values.length; i++) {
                values[i] = value(bytes, i);
            }
            return values;
        }

        /** The text. */
        public String text() {
            return new String(data, UTF_8);
        }

        private int width() {
            return element == 1 || element == 8 ? 4 : element == 3 || element == 9 ? 8
                    : element == 2 || element == 6 || element == 7 ? 2 : 1;
        }

        private double value(ByteBuffer bytes, int i) {
            switch (element) {
                case 1:
                    return bytes.getFloat(4 * i);
                case 2:
                    return half(bytes.getShort(2 * i));
                case 3:
                    return bytes.getDouble(8 * i);
                case 5:
                    return bytes.get(i);
                case 6:
                    return bytes.getShort(2 * i) & 0xFFFF;
                case 7:
                    return bytes.getShort(2 * i);
                case 8:
                    return bytes.getInt(4 * i);
                case 9:
                    return bytes.getLong(8 * i);
                default:
                    return bytes.get(i) & 0xFF;
            }
        }

        private static double half(short bits) {
            double sign = bits < 0 ? -1 : 1;
            int exponent = bits >> 10 & 31;
            int fraction = bits & 0x3FF;
            if (exponent == 31) {
                return fraction != 0 ? Double.NaN : sign * Double.POSITIVE_INFINITY;
            }
            return sign * (exponent == 0 ? fraction * 0x1p-24 : (1024 + fraction) * Math.pow(2, exponent - 25));
        }
    }

    /** Statistics of an array; docs/edge-log.md has the formulas. */
    public static final class Figures {
        public long count;
        public long nonFinite;
        public float min;
        public float max;
        public float mean;
        public float std;
        public float[] quantiles = new float[0];
        public float[] projection = new float[0];
    }

    /** A time of a frame. */
    public static final class Timing {
        public int kind;
        public String name = "";
        /** Nanoseconds. */
        public long elapsed;
        /** Nanoseconds after the beginning of the frame. */
        public long begin;
        public String op = "";
    }

    /** A sensor reading. */
    public static final class Reading {
        /** Nanoseconds since 1970. */
        public long time;
        public String sensor = "";
        public double[] values = new double[0];
    }

    /** Facts of the device and the app: the metadata record windtunnel.device of the last file. */
    public final Map<String, String> device = new LinkedHashMap<String, String>();
    /** What the session says at its end; empty if it was not closed. */
    public final Map<String, String> end = new LinkedHashMap<String, String>();
    public final List<Frame> frames = new ArrayList<Frame>();
    public final List<Reading> readings = new ArrayList<Reading>();
    /** What could not be read, and was skipped. */
    public final List<String> problems = new ArrayList<String>();

    EdgeLog() {}
}
