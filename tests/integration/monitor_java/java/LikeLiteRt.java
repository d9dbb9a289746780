/** Tensors with the methods of org.tensorflow.lite.Tensor, behind a class that is not public, as LiteRT's are. */
public final class LikeLiteRt {
    /** Names as in LiteRT. */
    public enum DataType { FLOAT32, UINT8, INT8 }

    /** As in LiteRT. */
    public static final class QuantizationParams {
        /** The real number of one unit. */
        public float getScale() {
            return 0.5f;
        }

        /** The integer that stands for 0. */
        public int getZeroPoint() {
            return -7;
        }
    }

    /** As in LiteRT. */
    public interface Tensor {
        /** Element type. */
        DataType dataType();

        /** Sizes. */
        int[] shape();

        /** How it is quantized. */
        QuantizationParams quantizationParams();
    }

    private static final class TensorImpl implements Tensor {
        @Override
        public DataType dataType() {
            return DataType.UINT8;
        }

        @Override
        public int[] shape() {
            return new int[] {1, 3};
        }

        @Override
        public QuantizationParams quantizationParams() {
            return new QuantizationParams();
        }
    }

    private LikeLiteRt() {}

    static Object tensor() {
        return new TensorImpl();
    }
}
