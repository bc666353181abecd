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
    };
  };
  export default module;
}
