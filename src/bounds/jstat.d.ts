/** The part of jStat that is used; the package has no types. */
declare module "jstat" {
  interface ContinuousDistribution<Parameters extends number[]> {
    cdf(x: number, ...parameters: Parameters): number;
    inv(probability: number, ...parameters: Parameters): number;
  }
  const module: {
    readonly jStat: {
      readonly studentt: ContinuousDistribution<[degreesOfFreedom: number]>;
      readonly beta: ContinuousDistribution<[alpha: number, beta: number]>;
      /** Equal numbers share the mean of their ranks; NaN where all numbers of a list are equal. */
      spearmancoeff(a: number[], b: number[]): number;
    };
  };
  export default module;
}
