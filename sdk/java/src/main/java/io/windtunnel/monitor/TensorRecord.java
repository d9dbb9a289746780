package io.windtunnel.monitor;

/** What a frame has of one tensor. */
final class TensorRecord {
    /** The codes are those of {@code EdgeRole} in edge.proto. */
    enum Role {
        RAW(1, "raw"),
        INPUT(2, "input"),
        OUTPUT(3, "output"),
        LAYER(4, "layer"),
        FUNCTION_INPUT(5, "function_input"),
        FUNCTION_OUTPUT(6, "function_output"),
        POSTPROCESSED(7, "postprocessed");

        final int code;
        final String label;

        Role(int code, String label) {
            this.code = code;
            this.label = label;
        }
    }

    final Role role;
    final String name;
    /** Null: the redaction hook took the values away. */
    Element element;
    int[] shape;
    /** An array of the pool, or null. */
    Object array;
    int count;
    /** Whether the values are recorded, or only their statistics. */
    boolean keepsValues;
    Statistics statistics;
    boolean redacted;
    final double scale;
    final int zeroPoint;
    final int opIndexPlusOne;

    TensorRecord(Role role, String name, Values values, TensorType type) {
        this.role = role;
        this.name = name;
        this.element = values.element;
        this.shape = values.shape;
        this.scale = type.scale;
        this.zeroPoint = type.zeroPoint;
        this.opIndexPlusOne = type.opIndexPlusOne;
    }

    /** "input image". */
    String label() {
        return name.isEmpty() ? role.label : role.label + " " + name;
    }

    /** Encodes all fields but the values. */
    void encode(ProtoBuffer to, ProtoBuffer scratch) {
        to.uint(1, role.code);
        to.text(2, name);
        to.uint(3, element == null ? 0 : element.code);
        to.uints(4, shape);
        if (statistics != null) {
            encode(statistics, scratch.clear());
            to.message(6, scratch);
        }
        to.fixed64(7, scale);
        to.uint(8, zeroPoint);
        to.uint(9, redacted ? 1 : 0);
        to.uint(10, opIndexPlusOne);
    }

    private static void encode(Statistics figures, ProtoBuffer to) {
        to.uint(1, figures.count);
        to.uint(2, figures.nonFinite);
        to.fixed32(3, figures.min);
        to.fixed32(4, figures.max);
        to.fixed32(5, figures.mean);
        to.fixed32(6, figures.std);
        to.floats(7, figures.quantiles);
        to.floats(8, figures.projection);
    }
}
