import io.windtunnel.monitor.*;

/** An app that classifies photos of 96x96 pixels. The lines with `monitor` or `frame` are the instrumentation. */
public final class CameraApp {
    private static final int PIXELS = 96 * 96;
    private static final Monitor monitor = Monitor.builder("edge-log").level("io").raw(true).build();

    private CameraApp() {}

    /** From bytes of RGB to [-1, 1]. */
    static float[] preprocess(byte[] photo) {
        float[] input = new float[photo.length];
        for (int i = 0; i < input.length; i++) {
            input[i] = (photo[i] & 0xFF) / 127.5f - 1;
        }
        return input;
    }

    /** In place of an interpreter: the mean of each channel. */
    static void infer(float[] input, float[] scores) {
        for (int i = 0; i < input.length; i++) {
            scores[i % 3] += input[i] / PIXELS;
        }
    }

    static int classify(byte[] photo) {
        float[] scores = new float[3];
        try (Frame frame = monitor.frame().raw(photo, 96, 96, 3)) {
            float[] input = frame.call("preprocess", photo, CameraApp::preprocess);
            infer(input, scores);
            frame.input(input, 1, 96, 96, 3).output(scores, 1, 3);
        }
        return scores[0] > scores[1] ? scores[0] > scores[2] ? 0 : 2 : scores[1] > scores[2] ? 1 : 2;
    }

    /** Classifies three photos. */
    public static void main(String[] arguments) {
        for (int channel = 0; channel < 3; channel++) {
            byte[] photo = new byte[PIXELS * 3];
            for (int i = channel; i < photo.length; i += 3) {
                photo[i] = (byte) (i % 250);
            }
            System.out.println("class " + classify(photo));
        }
        System.exit(0);
    }
}
