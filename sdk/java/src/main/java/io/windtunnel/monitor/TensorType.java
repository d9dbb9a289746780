package io.windtunnel.monitor;

/**
 * What the values of a tensor are, where the Java type does not say it: make it once and use it for every frame.
 *
 * <pre>{@code TensorType image = TensorType.of(Element.UINT8, 1, 224, 224, 3).quantized(0.0078125, 128);}</pre>
 */
public final class TensorType {
    final Element element;
    final int[] shape;
    final double scale;
    final int zeroPoint;
    final int opIndexPlusOne;

    private TensorType(Element element, int[] shape, double scale, int zeroPoint, int opIndexPlusOne) {
        this.element = element;
        this.shape = shape;
        this.scale = scale;
        this.zeroPoint = zeroPoint;
        this.opIndexPlusOne = opIndexPlusOne;
    }

    /**
     * A tensor of this element type.
     *
     * @param element element type; null: what the Java type says
     * @param shape sizes; none: one dimension
     */
    public static TensorType of(Element element, int... shape) {
        return new TensorType(element, shape == null ? new int[0] : shape.clone(), 0, 0, 0);
    }

    /**
     * The type of a tensor of the interpreter: {@code TensorType.ofTensor(interpreter.getInputTensor(0))}. It is asked by
     * reflection, so that the monitor does not depend on LiteRT.
     *
     * @param tensor an {@code org.tensorflow.lite.Tensor}; of anything else the type says nothing
     */
    public static TensorType ofTensor(Object tensor) {
        try {
            Element element = Element.valueOf(String.valueOf(ask(tensor, "dataType")));
            TensorType type = of(element, (int[]) ask(tensor, "shape"));
            Object quantization = ask(tensor, "quantizationParams");
            float scale = (Float) ask(quantization, "getScale");
            return scale == 0 ? type : type.quantized(scale, (Integer) ask(quantization, "getZeroPoint"));
        } catch (Exception unknown) {
            return of(null);
        }
    }

    /** Calls a method; of a class that is not public, as its interface declares it. */
    private static Object ask(Object object, String method) throws Exception {
        for (Class<?> declared : object.getClass().getInterfaces()) {
            try {
                return declared.getMethod(method).invoke(object);
            } catch (NoSuchMethodException other) {
                continue;
            }
        }
        return object.getClass().getMethod(method).invoke(object);
    }

    /**
     * The same, quantized.
     *
     * @param scale the real number of one unit
     * @param zeroPoint the integer that stands for 0
     */
    public TensorType quantized(double scale, int zeroPoint) {
        return new TensorType(element, shape, scale, zeroPoint, opIndexPlusOne);
    }

    /**
     * The same, as the output of an op.
     *
     * @param index index of the op in the order of execution, from 0
     */
    public TensorType op(int index) {
        return new TensorType(element, shape, scale, zeroPoint, index + 1);
    }
}
